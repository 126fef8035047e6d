/* SPDX-License-Identifier: MIT */
#pragma once

/* The subscription link: what is subscribed, and what Redis pushes. */

struct link;
struct redisReply;
struct redis_server;

/* Sends SUBSCRIBE, PSUBSCRIBE or the like for one channel or pattern. Without memory the server is given up
 * and comes back. */
void feed_say(struct redis_server *server, const char *command, const char *channel);

/* The same for a Pub/Sub channel of ours, which is sharded where Redis can. */
void feed_subscribe(struct redis_server *server, const char *channel);
void feed_unsubscribe(struct redis_server *server, const char *channel);

/* A push; the `pushed` of the feed link. */
void feed_handle_push(struct link *link, const struct redisReply *reply);
