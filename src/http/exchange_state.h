/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_HTTP_EXCHANGE_STATE_H
#define SLUICE_HTTP_EXCHANGE_STATE_H

/* What exchange.c, intake.c and answer.c share of an exchange's inside; nobody else includes it. On the
 * shard's thread.
 */

#include "http/exchange.h"

void exchange_move(struct exchange *exchange, enum exchange_state to);

/* Tells the holder, if there is one, that it is over for him. */
void exchange_release_holder(struct exchange *exchange);

/* Has libmicrohttpd leave the connection alone; within its callback. */
void exchange_rest(struct exchange *exchange);

/* Has libmicrohttpd go on with the connection, if it rests. */
void exchange_wake(struct exchange *exchange);

/* The client went away or is cut: the connection is closed. */
void exchange_abandon(struct exchange *exchange);

/* The time of the body, of what is dropped, or of the hold is over. */
void exchange_expire(struct timer *timer);

/* It is over: freed after this turn. */
void exchange_reap(struct exchange *exchange);

/* There is something to read; the time for reading is over. In intake.c. */
void intake_readable(struct exchange *exchange);
void intake_expire(struct exchange *exchange);

extern const struct client_owner_ops exchange_owner_ops;

void exchange_add_common_headers(struct exchange *exchange, struct MHD_Response *response);
void exchange_drop_response(struct exchange *exchange);

#endif
