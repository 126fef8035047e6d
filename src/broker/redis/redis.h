/* SPDX-License-Identifier: MIT */
#pragma once

/* The broker that many nodes share: logs in Redis Streams, the feed by Pub/Sub. One thread owns all
 * connections. docs/REDIS.md says what is kept where and what is promised.
 */

#include "core/broker.h"

/* A broker that is not started; takes a reference to the options. NULL when memory is out. */
struct broker *redis_broker_new(struct options *options);
