/* SPDX-License-Identifier: MIT */
#pragma once

/* Which way to receive a request asks for. Hostile input, bytes in, a row of the table out; any thread. */

#include <stddef.h>

#include "http/transport.h"

/* The transport that `?transport=` names; NULL when there is none. */
const struct transport *negotiation_find_named(const char *word, size_t len);

/* The transport that something else in a request than that and its Accept asks for; NULL when nothing does.
 * On the shard's thread. */
const struct transport *negotiation_find_asked(const struct exchange *exchange);

/* Appends the first words of all, as people list them. */
void negotiation_append_words(struct buf *to);

/* The transport that `accept` prefers (RFC 9110, section 12.5.1): the highest q wins, among equals what is
 * named before a wildcard, then what stands first. Wildcards stand for the default, which is also what is
 * left when nothing of ours is named: it delivers messages of any type. */
const struct transport *negotiation_find_accepted(const char *accept, size_t len);

/* The transport that a whole head asks for; NULL when it is no GET, or names none that there is. */
const struct transport *negotiation_find_in_head(const char *head, size_t len);
