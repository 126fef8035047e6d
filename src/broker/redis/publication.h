/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_PUBLICATION_H
#define SLUICE_BROKER_REDIS_PUBLICATION_H

/* One message on its way to Redis. For publish.c and lost.c. */

#include "broker/redis/answer.h"
#include "broker/redis/call.h"

#define PUBLICATION_MARK_MAX (REDIS_NODE_LEN + 24u)

struct job;

struct publication {
    struct call call;
    struct job *job;
    struct publish_item *item;
    struct list link;  /* in server.lost, or broker.bridged_publications */
    struct timer echo; /* bridged: the message has to come back by then */
    uint64_t submitted_ms;
    bool is_bridged;
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

#endif
