/* SPDX-License-Identifier: MIT */
#pragma once

/* Revocations of tokens, by way of Redis: told to all nodes by Pub/Sub, and kept in a sorted set that a
 * node reads when it has come (back). On the broker's thread. */

#include "base/text.h"
#include "core/broker.h"

struct redis_broker;
struct redis_server;

#define REVOCATIONS_CHANNEL "sluice:{$tokens}:r"

/* Before the thread; returns 0 or -ENOMEM. */
int revocations_init(struct redis_broker *broker);

/* After the servers are closed. */
void revocations_deinit(struct redis_broker *broker);

/* Requests of shards; answered when they are. */
void revocations_listen(struct redis_broker *broker, struct listen_request *request);
void revocations_revoke(struct redis_broker *broker, struct revoke_request *request);

/* The feed says: the subscription is confirmed; somebody has revoked (hostile). */
void revocations_subscribed(struct redis_server *server);
void revocations_receive(struct redis_broker *broker, struct text form);
