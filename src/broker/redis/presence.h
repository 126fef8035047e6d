/* SPDX-License-Identifier: MIT */
#pragma once

/* Presence and channel events over Redis (docs/PRESENCE.md): what this node knows of its own people stands in
 * a roster, and Redis is told of it, under a lease for each channel that is renewed with one call. Whoever
 * finds a lease that has lapsed has the people of that node taken out. When a server comes up again it is
 * told everything anew, under new leases. On the broker's thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "core/broker.h"

struct presence_desk;
struct redis_broker;
struct topic;

int presence_init(struct redis_broker *broker);
void presence_deinit(struct redis_broker *broker);

/* There are other options. */
void presence_renew(struct redis_broker *broker);

/* Requests. */
void presence_apply(struct redis_broker *broker, struct presence_request *request);
void presence_list(struct redis_broker *broker, struct roster_request *request);

/* Somebody has attached a channel: where presence is told there, this node sees to it until he has gone. */
void presence_follow(struct redis_broker *broker, struct text channel);

/* Takes what comes on a topic's Pub/Sub channel, if it is an event; hostile. Returns whether it is one. */
bool presence_receive(struct topic *topic, const char *bytes, size_t len);
