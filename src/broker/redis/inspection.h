/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_INSPECTION_H
#define SLUICE_BROKER_REDIS_INSPECTION_H

/* What is known of a bridged channel, whose log is here. For manage.c and listing.c. */

#include "broker/redis/state.h"

void inspection_of_topic(struct inspect_request *request, struct topic *topic);

#endif
