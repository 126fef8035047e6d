/* SPDX-License-Identifier: MIT */
#pragma once

/* The broker that many nodes share: logs in Redis Streams, the feed by Pub/Sub. One thread owns all
 * connections. docs/REDIS.md says what is kept where and what is promised.
 */

#include "broker/redis/url.h"
#include "core/broker.h"

/* Takes a reference to the options and starts. NULL when it cannot, with `fault` for people. */
struct broker *redis_broker_new(struct options *options, char fault[URL_FAULT_MAX]);
