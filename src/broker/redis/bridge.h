/* SPDX-License-Identifier: MIT */
#pragma once

/* Plain Pub/Sub: names and patterns of the option redis-subscribe become channels of this node. Redis
 * delivers such messages at most once and keeps none; their log is in this process's memory, with an epoch of
 * its own.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct redisReply;
struct redis_broker;
struct redis_server;

/* Takes the option apart: each of its items may list several, separated by commas or spaces. Returns 0 or
 * -ENOMEM. The bridge is a resident, which ends with the others: it subscribes to all names and patterns at
 * the server where it lives, in a Cluster, where any server hears every PUBLISH, at one. What was missed in
 * between is told by a reset. */
int bridge_init(struct redis_broker *broker);

/* Whether the channel is bridged. */
bool bridge_matches(const struct redis_broker *broker, struct text name);

/* Where to publish to bridged channels; NULL when nothing is subscribed. */
struct redis_server *bridge_server(const struct redis_broker *broker);

/* A message; `pattern` is NULL when it came by a name. */
void bridge_receive(struct redis_broker *broker, const char *pattern, const struct redisReply *channel,
                    const struct redisReply *payload);
