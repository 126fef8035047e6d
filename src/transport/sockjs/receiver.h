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

/* For the receiver's session. None of these but receiver_deliver writes to the socket, or ends a stream, in
 * the call. */

/* Tells the session's answers. */
void receiver_flush(struct receiver *receiver);

/* Delivers what a channel has to tell, or blocks the subscription; this one may write, and end a stream that
 * is broken. */
void receiver_deliver(struct receiver *receiver, struct command_subscription *subscription);

/* Leaves the session, which is closed; its client is told, and it was all. */
void receiver_close(struct receiver *receiver);

/* Its session is relieved once nothing is owed. */
void receiver_call(struct receiver *receiver);

/* How much its client has not taken yet, in bytes. */
size_t receiver_owed(const struct receiver *receiver);
