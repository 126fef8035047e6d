/* SPDX-License-Identifier: MIT */
#pragma once

/* Channels below a prefix: sluice.lua says on sluice:{FIRST}:n when it begins a log, and SCAN finds those
 * that are there. After any loss of the server it is subscribed again and scanned again. */

#include <stdbool.h>
#include <stddef.h>

struct redis_broker;
struct redis_server;
struct watch_request;

/* Requests of shards; answered when they are. */
void watch_begin(struct redis_broker *broker, struct watch_request *request);
void watch_end(struct watch_request *request);

/* A log was begun here or in Redis. */
void watch_announce(struct redis_broker *broker, const char *name, size_t len);

/* The Pub/Sub channel of the news is subscribed at a server. */
void watch_subscribed(struct redis_server *server, const char *channel, size_t len);

/* Whether it is such a channel. */
bool watch_is_news(const char *channel, size_t len);
