/* SPDX-License-Identifier: MIT */
#pragma once

/* Requests by which a session's client sends messages. They are taken in the order in which they came; where
 * too much is on its way to the broker they wait for their answer. On the shard's thread.
 */

#include "http/exchange.h"
#include "transport/sockjs/path.h"
#include "transport/sockjs/session.h"

/* Takes the exchange, in the state HANDLING. */
void send_begin(struct exchange *exchange, const struct sockjs_service *service,
                const struct session_path *path);

/* The session takes messages again. */
void sendings_go_on(struct session *session);

/* The session is over: those that wait are told. */
void sendings_drop(struct session *session);
