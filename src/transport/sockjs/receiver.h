/* SPDX-License-Identifier: MIT */
#pragma once

/* A request that receives for a session: a poll, which one frame answers, or a stream, which ends at the
 * service's response-limit. On the shard's thread.
 */

#include "http/exchange.h"
#include "transport/sockjs/path.h"
#include "transport/sockjs/session.h"

struct receiver;

/* Takes the exchange, in the state HANDLING. `callback` is valid; empty for carriers that need none. */
void receiver_begin(struct exchange *exchange, const struct sockjs_service *service,
                    const struct session_path *path, struct text callback);

/* For the receiver's session. None of these writes to the socket, or ends a stream, in this call. */

/* Tells the session's answers. */
void receiver_flush(struct receiver *receiver);

/* Leaves the session, which is closed; its client is told, and it was all. */
void receiver_close(struct receiver *receiver);

/* How much its client has not taken yet, in bytes. */
size_t receiver_owed(const struct receiver *receiver);
