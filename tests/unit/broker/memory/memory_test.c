/* SPDX-License-Identifier: MIT */
/* The memory broker through its interface, as a shard uses it. */

#include "unit.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "broker/memory/memory.h"
#include "config/options.h"
#include "core/handover.h"
#include "core/hub.h"
#include "failing.h"

static bool index_is_out;

/* The library of the index asks here for its memory. */
unsigned long JudyMalloc(unsigned long words);

unsigned long JudyMalloc(unsigned long words)
{
    return index_is_out ? 0 : (unsigned long)malloc(words * sizeof(unsigned long));
}

/* What happens, once, as soon as the lock is free. */
static void (*in_between)(void);

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static int (*unlock)(pthread_mutex_t * mutex);
    void (*happens)(void) = in_between;
    if (!unlock)
        unlock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    int err = unlock(mutex);
    in_between = NULL;
    if (happens)
        happens();
    return err;
}

static struct options *options;
static struct broker *broker;
static struct mailbox mailbox;
static struct timer_wheel wheel;
static struct hub hub;
static bool is_answered;

static int begin(void **state)
{
    const struct hub_settings settings = {.linger_ms = 1000, .linger_most = 1000};
    (void)state;
    table_key_init();
    options = options_new();
    assert_non_null(options);
    options->memory_limit_bytes = 1u << 20;
    broker = memory_broker_new(options);
    timer_wheel_init(&wheel, 1000);
    assert_int_equal(mailbox_init(&mailbox), 0);
    hub_init(&hub, broker, &mailbox, &wheel, &settings);
    return 0;
}

static int end(void **state)
{
    (void)state;
    broker->ops->stop(broker);
    mailbox_deinit(&mailbox);
    options_unref(options);
    return 0;
}

static void answered(struct broker_request *request)
{
    (void)request;
    is_answered = true;
}

static void await_answer(void)
{
    struct pollfd wait = {.fd = mailbox.wake_fd, .events = POLLIN};
    while (!is_answered) {
        assert_int_equal(poll(&wait, 1, 20000), 1);
        mailbox_acknowledge(&mailbox);
        mailbox_drain(&mailbox);
    }
}

static void ask(struct broker_request *request, enum broker_operation operation)
{
    is_answered = hub_submit(&hub, request, operation, answered);
    await_answer();
}

/* Publishes `size` bytes; the answer stands in the item. */
static struct publish_item publish(const char *channel, size_t size)
{
    static const char data[200000];
    const struct message_parts parts = {.type = MESSAGE_BINARY, .data = data, .size = size};
    struct publish_item item = {.channel = (char *)(uintptr_t)channel,
                                .channel_len = (uint8_t)strlen(channel),
                                .message = message_new(&parts)};
    struct publish_request request = {.count = 1, .items = &item};
    assert_true(hub_submit(&hub, &request.super, BROKER_PUBLISH, answered));
    return item;
}

static void test_an_append_without_memory_is_refused(void **state)
{
    uint64_t offset = 0;
    (void)state;
    /* The index needs memory with one of them. */
    for (enum error_code error = ERROR_NONE; error == ERROR_NONE; offset += error == ERROR_NONE) {
        const struct message_parts parts = {.type = MESSAGE_BINARY, .data = "x", .size = 1};
        struct publish_item item = {
            .channel = (char *)(uintptr_t) "a", .channel_len = 1, .message = message_new(&parts)};
        struct publish_request request = {.count = 1, .items = &item};
        memory_is_out = offset > 0;
        assert_true(hub_submit(&hub, &request.super, BROKER_PUBLISH, answered));
        memory_is_out = false;
        error = item.error;
        assert_null(item.message);
        assert_true(error == ERROR_NONE || error == ERROR_OUT_OF_MEMORY);
        assert_true(offset < 100);
    }
    assert_int_equal(publish("a", 10).offset, offset + 1);
}

static void test_a_full_memory_does_not_take_the_log_that_is_published_to(void **state)
{
    (void)state;
    struct publish_item item = publish("a", 200000);
    const struct epoch epoch = item.epoch;
    for (uint64_t offset = 1; item.error == ERROR_NONE; item = publish("a", 200000))
        assert_int_equal(item.offset, offset++);
    assert_int_equal(item.error, ERROR_MEMORY_LIMIT);
    struct history_request history = {.name = {"a", 1}, .from = 1, .to = 100};
    ring_init(&history.messages);
    ask(&history.super, BROKER_HISTORY);
    assert_int_equal(history.super.error, ERROR_NONE);
    assert_true(epoch_equals(&history.log.epoch, &epoch));
    assert_int_equal(history.log.oldest, 1);
    ring_deinit(&history.messages);
}

static void test_a_key_is_not_known_after_a_purge(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        const struct message_parts parts = {.type = MESSAGE_TEXT, .data = "x", .size = 1};
        struct publish_item item = {.channel = (char *)(uintptr_t) "a",
                                    .channel_len = 1,
                                    .key = "k",
                                    .key_len = 1,
                                    .message = message_new(&parts)};
        struct publish_request request = {.count = 1, .items = &item};
        ask(&request.super, BROKER_PUBLISH);
        assert_false(item.is_duplicate);
        assert_int_equal(item.offset, 1);
        struct inspect_request purge = {.channel = {.name = "a", .name_len = 1}};
        ask(&purge.super, BROKER_PURGE);
        assert_int_equal(purge.channel.messages, 1);
    }
}

static void test_history_leaves_out_what_is_not_asked_for(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 6; i++)
        publish("a", 10);
    struct history_request history = {.name = {"a", 1}, .from = 2, .to = 4};
    ring_init(&history.messages);
    ask(&history.super, BROKER_HISTORY);
    assert_int_equal(history.log.top, 6);
    assert_int_equal(history.messages.count, 3);
    assert_int_equal(ring_at(&history.messages, 0)->offset, 2);
    ring_deinit(&history.messages);
    history.to = 1;
    ask(&history.super, BROKER_HISTORY);
    assert_int_equal(history.messages.count, 0);
}

static void test_an_attach_brings_the_newest(void **state)
{
    struct attach_request attach = {.name = {"a", 1}, .tail_count = 2, .ahead_ms = ATTACH_AT_ONCE};
    (void)state;
    for (unsigned i = 1; i <= 6; i++)
        publish("a", 10);
    ring_init(&attach.tail);
    ask(&attach.super, BROKER_ATTACH);
    assert_int_equal(attach.log.top, 6);
    assert_int_equal(attach.log.oldest, 1);
    assert_int_equal(attach.tail.count, 2);
    assert_int_equal(ring_at(&attach.tail, 0)->offset, 5);
    assert_true(attach.ahead_ms == ATTACH_AT_ONCE);
    ring_deinit(&attach.tail);
    ask(&attach.super, BROKER_DETACH);
}

/* Where the log stands; 0 when there is none. */
static uint64_t top_of(const char *channel)
{
    struct history_request history = {.name = text_of(channel), .from = 1};
    ring_init(&history.messages);
    ask(&history.super, BROKER_HISTORY);
    return history.super.error == ERROR_NONE ? history.log.top : 0;
}

static void test_below_trees_all_logs_have_a_message_or_none(void **state)
{
    static const char *const names[] = {"a", "a/b", "a/b/c"};
    unsigned refused = 0;
    (void)state;
    options->tree = true;
    publish("a/b/c", 1);
    for (unsigned at = 1; at < 60; at++) {
        uint64_t before = message_memory_bytes();
        const struct message_parts parts = {.type = MESSAGE_BINARY, .data = "x", .size = 1};
        struct publish_item item = {
            .channel = (char *)(uintptr_t) "a/b/c", .channel_len = 5, .message = message_new(&parts)};
        struct publish_request request = {.count = 1, .items = &item};
        index_is_out = at % 4 == 0;
        memory_fails_at = at % 4 < 3 ? at % 4 : 0; /* the entry of one tree, or of the other */
        assert_true(hub_submit(&hub, &request.super, BROKER_PUBLISH, answered));
        memory_fails_at = 0;
        index_is_out = false;
        refused += item.error != ERROR_NONE;
        if (item.error != ERROR_NONE)
            assert_int_equal(message_memory_bytes(), before);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(top_of(names[i]), 1 + at - refused);
    }
    assert_in_range(refused, 1, 58);
}

static struct buf given;

static void give_some(void)
{
    broker->ops->handover->freeze(broker, true, 1000);
    assert_int_equal(broker->ops->handover->give(broker, &given, 1000), 1);
}

/* Into a memory that is so full that room is made in many slices, at the cost of `old`. */
static struct publish_item publish_while_given(void)
{
    options->history_size = 2000;
    for (unsigned i = 0; i < 2000; i++)
        publish("old", 10);
    while (message_memory_bytes() + 10000 < options->memory_limit_bytes)
        assert_int_equal(publish("new", 5000).error, ERROR_NONE);
    in_between = give_some;
    return publish("new", 200000);
}

/* How many records of that kind there are. */
static unsigned count_given(enum handover_kind kind)
{
    struct handover record;
    unsigned count = 0;
    ssize_t len;
    for (size_t at = 0; at < given.len; at += (size_t)len, count += record.kind == kind) {
        len = handover_parse(&record, given.bytes + at, given.len - at);
        assert_true(len > 0);
    }
    return count;
}

static void test_who_makes_room_while_all_is_told_is_refused(void **state)
{
    (void)state;
    struct publish_item item = publish_while_given();
    assert_null(in_between);
    assert_int_equal(item.error, ERROR_STOPPING);
    uint64_t before = broker->counters[METRIC_MESSAGES];
    while (broker->ops->handover->give(broker, &given, given.len + 1000) == 1)
        ;
    assert_int_equal(count_given(HANDOVER_MESSAGE), before);
    assert_int_equal(count_given(HANDOVER_END), 1);
    broker->ops->handover->freeze(broker, false, 0);
    assert_int_equal(publish("new", 10).error, ERROR_NONE);
    buf_deinit(&given);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_an_append_without_memory_is_refused),
    TEST(test_a_full_memory_does_not_take_the_log_that_is_published_to),
    TEST(test_a_key_is_not_known_after_a_purge),
    TEST(test_an_attach_brings_the_newest),
    TEST(test_below_trees_all_logs_have_a_message_or_none),
    TEST(test_history_leaves_out_what_is_not_asked_for),
    TEST(test_who_makes_room_while_all_is_told_is_refused),
};
UNIT_MAIN(tests)
