/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_HTTP_EXCHANGE_STATE_H
#define SLUICE_HTTP_EXCHANGE_STATE_H

/* What exchange.c and answer.c share of an exchange's inside; nobody else includes it. On the shard's thread.
 */

#include "http/exchange.h"

void exchange_move(struct exchange *exchange, enum exchange_state to);

/* Tells the holder, if there is one, that it is over for him. */
void exchange_release_holder(struct exchange *exchange);

/* Has libmicrohttpd go on with a suspended connection, unless it is calling us right now. */
void exchange_wake(struct exchange *exchange);

/* The client went away or is cut: the connection is closed. */
void exchange_abandon(struct exchange *exchange);

void exchange_add_common_headers(struct exchange *exchange, struct MHD_Response *response);
void exchange_drop_response(struct exchange *exchange);

#endif
