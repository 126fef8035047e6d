/* SPDX-License-Identifier: MIT */
/* Several shards at once on the same channels of the memory broker: every subscriber is told all that is
 * published, in the log's order, whatever is attached, detached and purged meanwhile. */

#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/table.h"
#include "broker/memory/memory.h"
#include "config/options.h"
#include "core/hub.h"
#include "core/subscriber.h"

#define SHARDS 4u
#define CHANNELS 3u
#define PUBLISHES 3000u
#define DEADLINE_MS 60000u

struct listener {
    struct subscriber subscriber;
    bool is_joined;
    bool has_begun;
    struct epoch epoch;
    uint64_t offset;
};

struct shard_of_test {
    pthread_t thread;
    struct mailbox mailbox;
    struct timer_wheel wheel;
    struct hub hub;
    struct listener listeners[CHANNELS];
    unsigned seed;
    uint64_t told;
    unsigned out_of_order;
    unsigned wrong_resets;
    bool is_behind; /* at the end somebody has not been told everything */
};

static const char *const names[CHANNELS] = {"a", "b", "c/d"};
static struct broker *broker;
static struct shard_of_test shards[SHARDS];
static pthread_barrier_t barrier;

static struct shard_of_test *shard_of(const struct subscriber *subscriber)
{
    return container_of(subscriber->hub, struct shard_of_test, hub);
}

static void listener_take(struct listener *listener, const struct delivery *delivery)
{
    struct shard_of_test *shard = shard_of(&listener->subscriber);
    const struct epoch *epoch = subscription_epoch(delivery->subscription);
    if (!delivery->message) {
        shard->wrong_resets += delivery->reset != RESET_PURGED;
        listener->has_begun = false;
    } else {
        bool follows = !listener->has_begun || (epoch_equals(&listener->epoch, epoch) &&
                                                delivery->message->offset == listener->offset + 1);
        shard->out_of_order += !follows;
        shard->told++;
        listener->has_begun = true;
        listener->epoch = *epoch;
        listener->offset = delivery->message->offset;
    }
}

static void listener_wake(struct subscriber *subscriber, bool is_first)
{
    struct delivery deliveries[16];
    size_t count;
    (void)is_first;
    while ((count = subscriber_read(subscriber, deliveries, ARRAY_LENGTH(deliveries))) > 0) {
        for (size_t i = 0; i < count; i++) {
            listener_take(container_of(subscriber, struct listener, subscriber), &deliveries[i]);
            subscriber_advance(&deliveries[i]);
        }
    }
}

static void listener_fail(struct subscriber *subscriber, enum error_code error)
{
    (void)error;
    shard_of(subscriber)->wrong_resets++;
}

static const struct subscriber_ops listener_ops = {.wake = listener_wake, .fail = listener_fail};

static void turn(struct shard_of_test *shard)
{
    shard->hub.now_ms = clock_monotonic_ms();
    mailbox_drain(&shard->mailbox);
    timer_wheel_run(&shard->wheel, shard->hub.now_ms);
    hub_serve(&shard->hub, 100000);
}

static void join(struct shard_of_test *shard, unsigned channel)
{
    struct listener *listener = &shard->listeners[channel];
    const struct text reference = text_of(names[channel]);
    const struct start start = {.kind = rand_r(&shard->seed) % 4 == 0 ? START_EARLIEST : START_NOW};
    *listener = (struct listener){.is_joined = true};
    if (subscriber_join(&listener->subscriber, &shard->hub, &listener_ops, TRANSPORT_SSE, &reference, 1,
                        &start) != ERROR_NONE)
        shard->wrong_resets++;
}

static void leave(struct listener *listener)
{
    listener->is_joined = false;
    subscriber_leave(&listener->subscriber);
}

static void publish(struct shard_of_test *shard, unsigned channel)
{
    const struct message_parts parts = {.data = "x", .size = 1};
    struct publish_item item = {.channel = (char *)(uintptr_t)names[channel],
                                .channel_len = (uint8_t)strlen(names[channel]),
                                .message = message_new(&parts)};
    struct publish_request request = {.count = 1, .items = &item};
    if (!hub_submit(&shard->hub, &request.super, BROKER_PUBLISH, NULL) || item.error != ERROR_NONE)
        shard->wrong_resets++;
}

static void purge(struct shard_of_test *shard, unsigned channel)
{
    struct inspect_request request = {.channel.name_len = strlen(names[channel])};
    strcpy(request.channel.name, names[channel]);
    (void)hub_submit(&shard->hub, &request.super, BROKER_PURGE, NULL); /* there may be no such log yet */
}

static bool is_told_everything(struct shard_of_test *shard)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct history_request request = {.name = text_of(names[i]), .from = 1};
        const struct subscriber *subscriber = &shard->listeners[i].subscriber;
        (void)hub_submit(&shard->hub, &request.super, BROKER_HISTORY, NULL);
        if (!epoch_equals(subscription_epoch(&subscriber->one), &request.log.epoch) ||
            subscriber->one.offset != request.log.top)
            return false;
    }
    return true;
}

static void *run(void *argument)
{
    struct shard_of_test *shard = argument;
    mailbox_own(&shard->mailbox);
    for (unsigned i = 0; i < PUBLISHES; i++) {
        unsigned channel = (unsigned)rand_r(&shard->seed) % CHANNELS;
        struct listener *listener = &shard->listeners[channel];
        unsigned die = (unsigned)rand_r(&shard->seed) % 256;
        if (!listener->is_joined)
            join(shard, channel);
        else if (die < 8)
            leave(listener);
        if (die == 255)
            purge(shard, channel);
        publish(shard, channel);
        if (die % 4 == 0)
            turn(shard);
    }
    for (unsigned i = 0; i < CHANNELS; i++)
        if (!shard->listeners[i].is_joined)
            join(shard, i);
    pthread_barrier_wait(&barrier);
    uint64_t until_ms = clock_monotonic_ms() + DEADLINE_MS;
    do {
        turn(shard);
        sched_yield();
        shard->is_behind = !is_told_everything(shard);
    } while (shard->is_behind && clock_monotonic_ms() < until_ms);
    for (unsigned i = 0; i < CHANNELS; i++)
        leave(&shard->listeners[i]);
    hub_close(&shard->hub);
    while (!hub_is_idle(&shard->hub) && clock_monotonic_ms() < until_ms)
        turn(shard);
    return NULL;
}

static struct channel_terms find_terms(const void *context, struct text name)
{
    (void)context;
    (void)name;
    return (struct channel_terms){.kept = {100000, 1u << 30, 3600000}};
}

static void test_all_is_told_in_order_whoever_publishes_attaches_and_purges(void **state)
{
    const struct hub_settings settings = {.find_terms = find_terms};
    (void)state;
    table_key_init();
    struct options *options = options_new();
    options->history_size = 100000;
    broker = memory_broker_new(options);
    assert_non_null(broker);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, SHARDS), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        shards[i].seed = i + 1;
        assert_int_equal(mailbox_init(&shards[i].mailbox), 0);
        timer_wheel_init(&shards[i].wheel, clock_monotonic_ms());
        hub_init(&shards[i].hub, broker, &shards[i].mailbox, &shards[i].wheel, &settings);
    }
    for (unsigned i = 0; i < SHARDS; i++)
        assert_int_equal(pthread_create(&shards[i].thread, NULL, run, &shards[i]), 0);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_join(shards[i].thread, NULL);
    for (unsigned i = 0; i < SHARDS; i++) {
        assert_int_equal(shards[i].out_of_order, 0);
        assert_int_equal(shards[i].wrong_resets, 0);
        assert_false(shards[i].is_behind);
        assert_true(shards[i].told > 0);
        assert_true(hub_is_idle(&shards[i].hub));
        mailbox_deinit(&shards[i].mailbox);
    }
    broker->ops->stop(broker);
    options_unref(options);
    pthread_barrier_destroy(&barrier);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_all_is_told_in_order_whoever_publishes_attaches_and_purges),
};
UNIT_MAIN(tests)
