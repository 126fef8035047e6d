/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_INSPECTION_H
#define SLUICE_BROKER_REDIS_INSPECTION_H

/* What is known of one channel, out of an answer of sluice_inspect or out of this node's log. For manage.c
 * and listing.c. */

#include "broker/redis/state.h"

/* Returns 0, or -EINVAL when the reply is not such an answer. */
int inspection_parse(struct inspect_request *request, const struct redisReply *reply);

/* Of a bridged channel. */
void inspection_of_topic(struct inspect_request *request, struct topic *topic);

#endif
