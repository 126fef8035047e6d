/* SPDX-License-Identifier: MIT */
#pragma once

/* Pages of a channel's history below its window: read from the broker once for everybody who needs them, and
 * kept a little for those who come back with the same cursor. For core/ only; everything runs on the shard's
 * thread.
 */

#include "core/channel.h"

/* The page that has or will have the message of that offset; NULL when none was asked for. */
struct page *page_find(struct channel *channel, uint64_t offset);

/* Asks the broker for [from, to]; with `to` below `from`, only for where the log stands. The page may be read
 * already; otherwise who needs it joins those that are fetching it. NULL when memory is out. */
struct page *page_request(struct channel *channel, uint64_t from, uint64_t to);

/* A question for where the log stands that is under way already; NULL when there is none. */
struct page *page_find_question(struct channel *channel, uint64_t from);

/* Asks for the page around an offset below the window. NULL when memory is out. */
struct page *page_request_around(struct channel *channel, uint64_t offset);

/* The offset of the newest message known, also from a page that was read. */
uint64_t page_top(const struct page *page);

/* Forgets all pages; nobody waits for any of them. */
void page_drop_all(struct channel *channel);
