/* SPDX-License-Identifier: MIT */
#pragma once

/* When, and where, clients are told to come back that are let go because the server stops. They are let go
 * evenly over the drain time (shard/drain.h), and each is told about the same wait: so they come back as
 * evenly, once another server can be there, or at once where one is. On the shard's thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct shard;

/* The longest sentence, terminated; it fits into the reason of a WebSocket's close frame. */
#define COMEBACK_TEXT_MAX 124u

/* How long one client is to wait, anew for each. */
uint64_t comeback_ms(const struct shard *shard);

/* The same in whole seconds, at least 1, rounded at random so that the clients stay spread. */
uint32_t comeback_s(const struct shard *shard);

/* Writes the sentence that says when and, where there is room, at which of the `alternatives`. Returns its
 * length. */
size_t comeback_say(const struct shard *shard, char to[COMEBACK_TEXT_MAX]);

/* Appends the error `stopping` as an object with `retry_after` and, where there are some, `alternatives`. */
void comeback_append_object(struct buf *to, const struct shard *shard);

/* Appends the alternatives, each between `quote`s and with a comma between, in an order of which the first is
 * at random: so who takes the first is as often at each. Appends nothing when there are none. */
void comeback_append_alternatives(struct buf *to, const struct shard *shard, const char *quote);
