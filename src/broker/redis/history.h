/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_HISTORY_H
#define SLUICE_BROKER_REDIS_HISTORY_H

/* Pages of history: from what this node holds, else from the stream. */

struct history_request;
struct redis_broker;

/* A request of a shard; answered when it is. */
void history_begin(struct redis_broker *broker, struct history_request *request);

#endif
