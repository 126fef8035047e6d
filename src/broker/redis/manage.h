/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_MANAGE_H
#define SLUICE_BROKER_REDIS_MANAGE_H

/* Looking at channels, listing and purging them. */

#include "broker/redis/state.h"

/* Requests of shards; answered when they are. */
void manage_inspect(struct redis_broker *broker, struct inspect_request *request);
void manage_purge(struct redis_broker *broker, struct inspect_request *request);
void manage_list(struct redis_broker *broker, struct list_request *request);

#endif
