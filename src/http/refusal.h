/* SPDX-License-Identifier: MIT */
#pragma once

/* Refusing what passes by itself: a limit, a broker that is away, a server that stops. An EventSource gives
 * up for good at any status but 200, so it is answered with a stream that has ended already and says when to
 * come back; everybody else gets 503 and Retry-After.
 */

#include "config/options.h"
#include "http/transport.h"

/* Answers an exchange that asked for that transport, or for none. On the shard's thread. */
void refusal_answer(struct exchange *exchange, enum error_code error, const struct transport *transport);

/* The same with a sentence of its own, for who is told errors; after exchange->retry_after_s where that is
 * set. */
void refusal_answer_saying(struct exchange *exchange, enum error_code error,
                           const struct transport *transport, const char *what);

/* Zeroed memory for who is to hold the exchange. NULL when the server stops or memory is out, and then the
 * exchange has been refused; `transport` is NULL where a status is understood. */
void *refusal_make_holder(struct exchange *exchange, size_t size, const struct transport *transport);

/* The whole response for an error to a connection at the door, where `head` is what it has sent so far.
 * Returns its length, at most `size`; 0 when closing says it better. Pure; any thread. */
size_t refusal_render(const struct options *options, enum error_code error, const char *head, size_t head_len,
                      char *to, size_t size);
