/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_MANAGE_H
#define SLUICE_BROKER_REDIS_MANAGE_H

/* Looking at a channel and purging it. */

struct inspect_request;
struct redis_broker;
struct topic;

/* Requests of shards; answered when they are. */
void manage_inspect(struct redis_broker *broker, struct inspect_request *request);
void manage_purge(struct redis_broker *broker, struct inspect_request *request);

/* What is known of a bridged channel, whose log is here. */
void manage_inspect_bridged(struct inspect_request *request, struct topic *topic);

#endif
