/* SPDX-License-Identifier: MIT */
#pragma once

/* Requests about one channel that are one call each: a page of history, a look, a purge. They are answered
 * from what this node holds where that is enough. */

struct history_request;
struct inspect_request;
struct inspection;
struct redis_broker;
struct topic;

/* Requests of shards; answered when they are. */
void ask_history(struct redis_broker *broker, struct history_request *request);
void ask_inspect(struct redis_broker *broker, struct inspect_request *request);
void ask_purge(struct redis_broker *broker, struct inspect_request *request);

/* What is known of a bridged channel, whose log is here. */
void ask_inspect_bridged(struct inspection *channel, struct topic *topic);
