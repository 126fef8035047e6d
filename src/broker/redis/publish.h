/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_PUBLISH_H
#define SLUICE_BROKER_REDIS_PUBLISH_H

/* Publishing: one call of sluice_publish a message, pipelined. Accepted is what Redis has answered.
 *
 * When a link breaks, nobody knows which of the publishes on their way Redis has executed. Those with an
 * idempotency key are sent again; of the others, whose stream entries carry a mark of this node, it is first
 * looked up what became of them.
 */

#include "broker/redis/state.h"

/* A request of a shard; answered when all of it is. */
void publish_submit(struct redis_broker *broker, struct publish_request *request);

/* The server is up: what became of the publishes whose answers were lost? */
void publish_server_up(struct server *server);

/* Answers those of them that have waited long enough; or, when the server is gone for good, all. */
void publish_expire_lost(struct server *server);
void publish_server_gone(struct server *server);

/* A bridged channel has got this message: if it is ours, now its id is known. */
void publish_take_bridged(const struct topic *topic, uint64_t offset, const char *bytes, size_t len);

/* Before the broker ends: nothing waits any more. */
void publish_fail_bridged(struct redis_broker *broker);

#endif
