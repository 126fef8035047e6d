/* SPDX-License-Identifier: MIT */
#include "command/gather.h"

#include "shard/memory_share.h"

#define GATHER_BATCH 64u

static void gather_run(struct gather *gather)
{
    struct delivery deliveries[GATHER_BATCH];
    bool goes_on = true;
    size_t count = GATHER_BATCH;
    while (goes_on && count == GATHER_BATCH) {
        count = subscriber_read(&gather->subscriber, deliveries, GATHER_BATCH);
        for (size_t i = 0; goes_on && i < count; i++)
            goes_on = deliveries[i].offset <= gather->until && gather->ops->add(gather, &deliveries[i]);
    }
    if (!goes_on || (!gather->is_patient && !subscriber_is_fetching(&gather->subscriber)))
        gather->ops->end(gather, ERROR_NONE);
}

/* It is not answered in the middle of its command, so that commands that come in one piece do not make large
 * answers all at once. */
static void gather_woken(struct subscriber *subscriber, bool is_first)
{
    struct gather *gather = container_of(subscriber, struct gather, subscriber);
    if (!is_first) {
        gather_run(gather);
        return;
    }
    if (!gather->is_patient)
        gather->until = subscription_top(&subscriber->one);
    subscriber_yield(subscriber);
}

static void gather_failed(struct subscriber *subscriber, enum error_code error)
{
    struct gather *gather = container_of(subscriber, struct gather, subscriber);
    gather->ops->end(gather, error);
}

static const struct subscriber_ops gather_subscriber_ops = {.wake = gather_woken, .fail = gather_failed};

enum error_code gather_begin(struct gather *gather, struct shard *shard, const struct gather_ops *ops,
                             enum transport_kind transport, struct text channel, const struct start *start)
{
    if (memory_refuses(shard))
        return ERROR_CONNECTION_MEMORY; /* a short command may have a long answer */
    gather->ops = ops;
    gather->shard = shard;
    gather->until = UINT64_MAX;
    gather->subscriber.is_of_log = true;
    return subscriber_join(&gather->subscriber, &shard->hub, &gather_subscriber_ops, transport, &channel, 1,
                           start);
}

void gather_wake(struct gather *gather)
{
    subscriber_yield(&gather->subscriber);
}

void gather_drop(struct gather *gather, void (*release)(struct garbage *garbage))
{
    subscriber_leave(&gather->subscriber);
    shard_reap(gather->shard, &gather->garbage, release);
}
