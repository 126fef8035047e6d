/* SPDX-License-Identifier: MIT */
#pragma once

/* A carrier of the command protocol and a shard around it, played by the test: what is said and told is kept
 * as lines. The broker is the memory broker, which may be slow: then its answers wait for the test. */

#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "auth/keys.h"
#include "broker/memory/memory.h"
#include "command/auth.h"
#include "config/options.h"
#include "core/hub.h"
#include "render/render.h"

#define CARRIER_SLOW_MAX 4096u

struct carrier {
    struct conversation conversation;
    struct buf lines;
    unsigned ready_count;
    unsigned idle_count;
    bool is_full; /* takes no message */
};

static struct options *options;
static struct auth_keys *keys;
static struct broker *memory;
static struct shard_group group;
static struct shard shard;
static struct broker_request *slow[CARRIER_SLOW_MAX];
static unsigned slow_count;
static bool is_slow;
static bool is_away;

/* The shard. */

void shard_count(struct shard *of, enum metric metric, uint64_t by)
{
    (void)of;
    (void)metric;
    (void)by;
}

void shard_reap(struct shard *of, struct garbage *garbage, void (*release)(struct garbage *garbage))
{
    garbage->release = release;
    garbage->next = of->garbage;
    of->garbage = garbage;
}

static bool carrier_submit(struct broker *broker, struct broker_request *request)
{
    (void)broker;
    if (!is_slow || request->operation == BROKER_DETACH)
        return memory->ops->submit(memory, request);
    if (slow_count == CARRIER_SLOW_MAX)
        abort();
    slow[slow_count++] = request;
    return false;
}

static bool carrier_broker_is_ready(struct broker *broker)
{
    (void)broker;
    return !is_away;
}

static const struct broker_ops carrier_broker_ops = {
    .scheme = "slow", .submit = carrier_submit, .is_ready = carrier_broker_is_ready};
static struct broker carrier_broker = {.ops = &carrier_broker_ops};

/* Until nothing is left to do. */
static void shard_turn(void)
{
    bool has_more = true;
    while (has_more) {
        has_more = mailbox_drain(&shard.mailbox);
        has_more = hub_serve(&shard.hub, 1000000000) || has_more;
        while (shard.garbage) {
            struct garbage *garbage = shard.garbage;
            shard.garbage = garbage->next;
            garbage->release(garbage);
        }
    }
}

/* What a slow broker was asked for as number `index` is answered. */
static inline void slow_answer(unsigned index, enum error_code error)
{
    struct broker_request *request = slow[index];
    slow[index] = NULL;
    if (error == ERROR_NONE)
        memory->ops->submit(memory, request);
    broker_answer(request, error == ERROR_NONE ? request->error : error);
    shard_turn();
}

static inline void slow_answer_all(void)
{
    for (unsigned i = 0; i < slow_count; i++)
        if (slow[i])
            slow_answer(i, ERROR_NONE);
    slow_count = 0;
}

static inline struct channel_terms find_terms(const void *context, struct text name)
{
    (void)context;
    (void)name;
    return (struct channel_terms){.kept = {100000, 64u << 20, 60000}};
}

static inline int shard_begin(void **state)
{
    const struct hub_settings settings = {.find_terms = find_terms, .linger_ms = 1000, .linger_most = 1000};
    char fault[AUTH_FAULT_MAX];
    (void)state;
    table_key_init();
    options = options_new();
    options->history_size = 100000;
    memory = memory_broker_new(options);
    if (auth_keys_load(&keys, options, fault))
        return -1;
    shard = (struct shard){.group = &group, .options = options, .keys = keys, .now_ms = 1000};
    timer_wheel_init(&shard.wheel, 1000);
    bearer_table_init(&shard.bearers, &shard);
    hub_init(&shard.hub, &carrier_broker, &shard.mailbox, &shard.wheel, &settings);
    shard.hub.now_ms = 1000;
    is_slow = false;
    is_away = false;
    slow_count = 0;
    return mailbox_init(&shard.mailbox);
}

static inline int shard_end(void **state)
{
    (void)state;
    is_slow = false;
    slow_answer_all();
    shard_turn();
    hub_close(&shard.hub);
    shard_turn();
    if (!hub_is_idle(&shard.hub))
        return -1;
    mailbox_deinit(&shard.mailbox);
    memory->ops->stop(memory);
    auth_keys_unref(keys);
    options_unref(options);
    return 0;
}

/* The carrier. */

static struct carrier *carrier_of(struct conversation *conversation)
{
    return container_of(conversation, struct carrier, conversation);
}

static void carrier_say(struct conversation *conversation, const char *json, size_t len)
{
    struct carrier *carrier = carrier_of(conversation);
    buf_append(&carrier->lines, json, len);
    buf_append_char(&carrier->lines, '\n');
}

static void carrier_deliver(struct command_subscription *subscription)
{
    struct carrier *carrier = carrier_of(subscription->conversation);
    struct delivery delivery;
    if (carrier->is_full) {
        subscriber_block(&subscription->subscriber);
        return;
    }
    while (subscriber_read(&subscription->subscriber, &delivery, 1) > 0) {
        subscriber_advance(&delivery);
        if (delivery.message) {
            buf_append_text(&carrier->lines, CONVERSATION_MESSAGE);
            render_json_members(&carrier->lines, delivery.message,
                                subscription_channel(delivery.subscription),
                                subscription_epoch(delivery.subscription));
            buf_append_char(&carrier->lines, '}');
        } else {
            conversation_append_reset(&carrier->lines, &delivery);
        }
        buf_append_char(&carrier->lines, '\n');
    }
}

static void carrier_ready(struct conversation *conversation)
{
    carrier_of(conversation)->ready_count++;
}

static void carrier_idle(struct conversation *conversation)
{
    carrier_of(conversation)->idle_count++;
}

static const struct conversation_ops carrier_ops = {
    .say = carrier_say, .deliver = carrier_deliver, .ready = carrier_ready, .idle = carrier_idle};

static void carrier_begin(struct carrier *carrier)
{
    *carrier = (struct carrier){.is_full = false};
    conversation_init(&carrier->conversation, &shard, &carrier_ops, TRANSPORT_TCP);
}

static void carrier_end(struct carrier *carrier)
{
    conversation_deinit(&carrier->conversation);
    conversation_deinit(&carrier->conversation);
    shard_turn();
    buf_deinit(&carrier->lines);
}
