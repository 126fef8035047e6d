/* SPDX-License-Identifier: MIT */
#pragma once

/* What exchange.c, intake.c and answer.c share of an exchange's inside; nobody else includes it. On the
 * shard's thread.
 */

#include "http/exchange.h"

/* Moves the exchange on to its next state, and with it its timer, its holder and whether libmicrohttpd goes
 * on with the connection. */
void exchange_move(struct exchange *exchange, enum exchange_state to);

/* Has libmicrohttpd leave the connection alone; within its callback. */
void exchange_rest(struct exchange *exchange);

/* The time of the body or of the hold is over. */
void exchange_expire(struct timer *timer);

/* There is something to read; the time for reading is over. In intake.c. */
void intake_readable(struct exchange *exchange);
void intake_expire(struct exchange *exchange);

extern const struct client_owner_ops exchange_owner_ops;

void exchange_add_common_headers(struct exchange *exchange, struct MHD_Response *response);
void exchange_drop_response(struct exchange *exchange);
void exchange_drop_body(struct exchange *exchange);
