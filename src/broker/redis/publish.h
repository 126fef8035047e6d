/* SPDX-License-Identifier: MIT */
#pragma once

/* Publishing: one call of sluice_publish a message, pipelined. Accepted is what Redis has answered.
 *
 * When a link breaks, nobody knows which of the publishes on their way Redis has executed. Those with an
 * idempotency key are sent again; of the others, whose stream entries carry a mark of this node, it is first
 * looked up what became of them. A transient one leaves no trace, and is refused.
 */

#include "base/list.h"
#include "base/timer.h"
#include "broker/redis/answer.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"

#define PUBLISH_MARK_MAX (REDIS_NODE_LEN + 24u)

struct topic;

/* One message on its way to Redis. */
struct publish {
    struct call call;
    struct publish_request *request; /* whose `known` is the array that this is in */
    struct publish_item *item;
    struct list link;  /* in in_doubt.publishes, or broker.bridged_publishes */
    struct timer echo; /* bridged: the message has to come back by then */
    uint64_t submitted_ms;
    struct channel_trees trees; /* above the channel, whose logs it goes into too */
    uint64_t number;            /* in its mark */
    bool is_answered;           /* bridged: Redis has taken it */
    bool is_seen;               /* bridged: it has come back */
    char mark[PUBLISH_MARK_MAX];
};

static inline struct text publish_channel(const struct publish *publish)
{
    return (struct text){publish->item->channel, publish->item->channel_len};
}

/* The end of a publish; the last one of its request answers it. */
void publish_finish(struct publish *publish, enum error_code error);

/* It is in the log; where in those of the trees, the answer to sluice_publish says, which may be NULL.
 * Finishes.
 */
void publish_accept(struct publish *publish, const struct published *published,
                    const struct redisReply *reply);

/* A request of a shard; answered when all of it is. */
void publish_submit(struct redis_broker *broker, struct publish_request *request);

/* The newest message of a bridged channel: if it is ours, now its id is known. */
void publish_note_echo(const struct topic *topic, struct text data);

/* Before the broker ends: nothing waits any more. */
void publish_fail_bridged(struct redis_broker *broker);
