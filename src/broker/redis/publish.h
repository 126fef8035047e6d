/* SPDX-License-Identifier: MIT */
#pragma once

/* Publishing: one call of sluice_publish a message, pipelined. Accepted is what Redis has answered.
 *
 * When a link breaks, nobody knows which of the publishes on their way Redis has executed. Those with an
 * idempotency key are sent again; of the others, whose stream entries carry a mark of this node, it is first
 * looked up what became of them.
 */

#include "base/list.h"
#include "base/timer.h"
#include "broker/redis/answer.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"

#define PUBLICATION_MARK_MAX (REDIS_NODE_LEN + 24u)

struct job;
struct topic;

/* One message on its way to Redis. */
struct publication {
    struct call call;
    struct job *job;
    struct publish_item *item;
    struct list link;  /* in in_doubt.publications, or broker.bridged_publications */
    struct timer echo; /* bridged: the message has to come back by then */
    uint64_t submitted_ms;
    bool is_answered; /* bridged: Redis has taken it */
    bool is_seen;     /* bridged: it has come back */
    char mark[PUBLICATION_MARK_MAX];
};

/* What one request of a shard has become. */
struct job {
    struct redis_broker *broker;
    struct publish_request *request;
    size_t remaining;
    struct publication publications[];
};

/* The end of a publication; may be the end of its job, which is then freed. */
void publication_finish(struct publication *publication, enum error_code error);

/* It is in the log. Finishes. */
void publication_accept(struct publication *publication, const struct published *published);

/* A request of a shard; answered when all of it is. */
void publish_submit(struct redis_broker *broker, struct publish_request *request);

/* A bridged channel has got this message: if it is ours, now its id is known. */
void publish_note_echo(const struct topic *topic, uint64_t offset, const char *bytes, size_t len);

/* Before the broker ends: nothing waits any more. */
void publish_fail_bridged(struct redis_broker *broker);
