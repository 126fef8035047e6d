/* SPDX-License-Identifier: MIT */
#pragma once

/* The list of channels: SCAN over the keys of every master, a step at a time, then what is known of each name
 * found. */

struct list_request;
struct redis_broker;

/* A request of a shard; answered when it is. */
void listing_begin(struct redis_broker *broker, struct list_request *request);
