/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_TOPIC_LOG_H
#define SLUICE_BROKER_REDIS_TOPIC_LOG_H

/* The log of a topic: what came by the feed, what is read from the stream, and how the two become one order
 * without holes. For topic.c. */

#include "broker/redis/topic.h"

/* Asks Redis for what is new since what is known: after subscribing, on a hole, and now and then to compare.
 * Ends with topic_opened or topic_open_failed. */
void topic_open(struct topic *topic);

/* In topic.c: the answer is in the topic. */
void topic_opened(struct topic *topic);
void topic_open_failed(struct topic *topic, enum error_code error);

/* Forgets what came too early, and the call under way. */
void topic_stop_opening(struct topic *topic);

/* Drops the messages held here, all or those that have expired. */
void topic_drop_ring(struct topic *topic);
void topic_expire_ring(struct topic *topic);

#endif
