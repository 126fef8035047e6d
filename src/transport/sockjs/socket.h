/* SPDX-License-Identifier: MIT */
#pragma once

/* Sessions over WebSocket, each as long as its connection: with the frames of SockJS, or raw. On the shard's
 * thread. */

#include "http/exchange.h"
#include "transport/sockjs/service.h"

/* Takes the exchange, a GET in the state HANDLING. */
void socket_begin(struct exchange *exchange, const struct sockjs_service *service, bool is_raw);
