/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/memory/log.h"

static struct store store;
static struct log_limits limits;       /* of all */
static struct log_limits small_limits; /* of the channel `small` */

static void find_limits(const struct store *asking, struct text name, struct log_limits *to)
{
    assert_ptr_equal(asking, &store);
    *to = text_is(name, "small") ? small_limits : limits;
}

static int begin(void **state)
{
    (void)state;
    store_init(&store);
    store.now_ms = 1000;
    timer_wheel_init(&store.wheel, store.now_ms);
    store.limit = find_limits;
    store.memory_limit_bytes = 1u << 20;
    limits = (struct log_limits){
        .retention = {100, 1u << 20, 60000}, .channel_ttl_ms = 3600000, .idempotency_time_ms = 120000};
    small_limits = (struct log_limits){
        .retention = {2, 1u << 20, 5000}, .channel_ttl_ms = 10000, .idempotency_time_ms = 1000};
    return 0;
}

static int end(void **state)
{
    (void)state;
    store_deinit(&store);
    return 0;
}

static struct message *publish(const char *channel, size_t size, uint64_t ttl_ms)
{
    static char data[100000];
    const struct message_parts parts = {.type = MESSAGE_BINARY, .data = data, .size = size, .ttl_ms = ttl_ms};
    struct log *log = store_get(&store, channel, strlen(channel));
    struct message *message = message_new(&parts);
    assert_int_equal(log_append(log, message), 0);
    return message;
}

static void pass(uint64_t ms)
{
    store.now_ms += ms;
    while (store_tend(&store))
        ;
}

static void test_log_counts_on_over_trims(void **state)
{
    (void)state;
    limits.retention.count = 3;
    for (unsigned i = 0; i < 10; i++)
        publish("a", 10, 0);
    struct log *log = store_find(&store, "a", 1);
    assert_int_equal(log->top, 10);
    assert_int_equal(log_oldest(log), 8);
    assert_int_equal(store.message_count, 3);
}

static void test_log_forgets_by_age_but_not_its_counter(void **state)
{
    (void)state;
    publish("a", 10, 0);
    publish("a", 10, 5000);
    struct log *log = store_find(&store, "a", 1);
    pass(6000);
    assert_int_equal(log->count, 1);
    pass(60000);
    assert_int_equal(log->count, 0);
    assert_int_equal(log_oldest(log), 3);
    assert_int_equal(publish("a", 10, 0)->offset, 3);
}

static void test_an_empty_log_that_nobody_uses_is_dropped(void **state)
{
    const struct attach_request request = {0};
    (void)state;
    publish("a", 10, 0);
    struct log *log = store_get(&store, "b", 1);
    assert_int_equal(log_attach(log, &request), 0);
    pass(60100);
    pass(3600000);
    assert_null(store_find(&store, "a", 1));
    assert_non_null(store_find(&store, "b", 1));
    log_detach(log, &request);
    pass(3600100);
    assert_null(store_find(&store, "b", 1));
    assert_int_equal(store.log_bytes, 0);
}

static void test_room_is_made_from_the_longest_idle(void **state)
{
    const struct attach_request request = {0};
    (void)state;
    publish("first", 90000, 0);
    store.now_ms++;
    publish("held", 90000, 0);
    log_attach(store_find(&store, "held", 4), &request);
    store.now_ms++;
    publish("third", 90000, 0);
    store.memory_limit_bytes = 200000;
    assert_true(store_make_room(&store, "", 0) == 0);
    assert_null(store_find(&store, "first", 5));
    assert_non_null(store_find(&store, "third", 5));
    store.memory_limit_bytes = 10000;
    assert_int_equal(store_make_room(&store, "third", 5), -ENOSPC);
    assert_non_null(store_find(&store, "held", 4));
    assert_non_null(store_find(&store, "third", 5));
    assert_int_equal(store.evicted, 1);
}

static void test_keys_are_remembered_for_their_time(void **state)
{
    (void)state;
    struct message *message = publish("a", 10, 0);
    struct log *log = store_find(&store, "a", 1);
    assert_int_equal(log_remember_key(log, "k", 1, message->offset, message->time_ms), 0);
    assert_int_equal(log_find_key(log, "k", 1)->offset, 1);
    assert_null(log_find_key(log, "l", 1));
    uint64_t bytes = store.log_bytes;
    assert_int_equal(log_remember_key(log, "m", 1, message->offset, message->time_ms), 0);
    pass(119000);
    assert_non_null(log_find_key(log, "k", 1));
    store.now_ms += 1000;
    assert_null(log_find_key(log, "k", 1));
    pass(1);
    assert_true(store.log_bytes < bytes);
}

static void test_purge_begins_a_new_epoch(void **state)
{
    (void)state;
    struct message *message = publish("a", 10, 0);
    struct log *log = store_find(&store, "a", 1);
    struct epoch before = log->epoch;
    uint64_t bytes = store.log_bytes;
    assert_int_equal(log_remember_key(log, "k", 1, message->offset, message->time_ms), 0);
    log = store_purge(log);
    assert_int_equal(log->count, 0);
    assert_null(log_find_key(log, "k", 1));
    pass(0);
    assert_int_equal(store.log_bytes, bytes);
    assert_int_equal(store.message_count, 0);
    assert_false(epoch_equals(&before, &log->epoch));
    assert_true(epoch_has_same_name(&before, &log->epoch));
    assert_int_equal(publish("a", 10, 0)->offset, 1);
}

static void test_what_expires_together_goes_in_slices(void **state)
{
    (void)state;
    limits.retention.count = 10000;
    limits.retention.bytes = 1u << 24;
    for (unsigned i = 0; i < 5000; i++)
        publish("a", 10, i % 2 == 0 ? 1000 : 0);
    char name[16];
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "b%u", i);
        publish(name, 10, 1000);
    }
    bool has_more = true;
    store.now_ms += 2000;
    while (has_more) {
        uint64_t before = store.message_count;
        has_more = store_tend(&store);
        assert_true(before - store.message_count <= STORE_SLICE);
        store.now_ms += TIMER_TICK_MS;
    }
    assert_int_equal(store.message_count, 2500);
    /* Those between the ones that have gone are found as before. */
    struct ring ring;
    uint64_t to = 11;
    ring_init(&ring);
    assert_int_equal(log_copy(store_find(&store, "a", 1), 2, &to, &ring), 0);
    assert_int_equal(ring.count, 5);
    assert_int_equal(ring_at(&ring, 4)->offset, 10);
    ring_deinit(&ring);
}

static void test_channels_that_expire_together_go_in_slices(void **state)
{
    char name[16];
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_non_null(store_get(&store, name, strlen(name)));
    }
    store.now_ms += limits.channel_ttl_ms + 1000;
    for (uint64_t before = store.count; store_tend(&store); before = store.count) {
        assert_true(before - store.count <= STORE_SLICE);
        store.now_ms += TIMER_TICK_MS;
    }
    assert_int_equal(store.count, 0);
    assert_int_equal(store.log_bytes, 0);
}

static void test_a_large_log_makes_room_in_slices(void **state)
{
    (void)state;
    limits.retention = (struct retention){10000, 1u << 30, 60000};
    store.memory_limit_bytes = 1u << 30;
    for (unsigned i = 0; i < 5000; i++)
        publish("a", 100, 0);
    publish("b", 100, 0);
    uint64_t full = message_memory_bytes();
    uint64_t each = full / 5001;
    unsigned slices = 1;
    store.memory_limit_bytes = full / 10;
    for (uint64_t before = full; store_make_room(&store, "b", 1) == -EAGAIN; slices++) {
        assert_true(before - message_memory_bytes() <= (STORE_SLICE + 1) * each);
        before = message_memory_bytes();
    }
    assert_null(store_find(&store, "a", 1));
    assert_int_equal(store.evicted, 1);
    assert_true(slices > 3);
    assert_true(message_memory_bytes() < full / 10);
}

static void test_a_log_that_lost_room_by_its_limits_trims_in_slices(void **state)
{
    (void)state;
    limits.retention.count = 5000;
    for (unsigned i = 0; i < 5000; i++)
        publish("a", 10, 0);
    limits.retention.count = 10;
    store_renew_limits(&store);
    publish("a", 10, 0);
    assert_true(store_find(&store, "a", 1)->count > 4000);
    pass(TIMER_TICK_MS);
    while (store_find(&store, "a", 1)->count > 10)
        pass(TIMER_TICK_MS);
    assert_int_equal(store_find(&store, "a", 1)->count, 10);
    assert_int_equal(log_oldest(store_find(&store, "a", 1)), 4992);
}

static void test_a_log_has_limits_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        publish("a", 10, 0);
        publish("small", 10, 0);
    }
    struct log *log = store_find(&store, "small", 5);
    assert_int_equal(log->count, 2);
    assert_int_equal(store_find(&store, "a", 1)->count, 5);
    struct message *message = publish("small", 10, 0);
    assert_int_equal(log_remember_key(log, "k", 1, message->offset, message->time_ms), 0);
    pass(1500);
    assert_null(log_find_key(log, "k", 1));
    pass(4000);
    assert_int_equal(log->count, 0);
    assert_int_equal(store_find(&store, "a", 1)->count, 5);
    pass(10000);
    assert_null(store_find(&store, "small", 5));
    assert_non_null(store_find(&store, "a", 1));
}

static void test_idle_logs_get_new_limits_in_slices(void **state)
{
    const unsigned count = 1000;
    char name[16];
    (void)state;
    for (unsigned i = 0; i < 3 * count; i++) {
        snprintf(name, sizeof(name), "%u", i % count);
        publish(name, 10, 0);
    }
    limits.retention.count = 1;
    store_renew_limits(&store);
    unsigned slices = 0;
    for (bool has_more = true; has_more; slices++) {
        has_more = store_tend(&store);
        store.now_ms += TIMER_TICK_MS;
    }
    pass(TIMER_TICK_MS);
    assert_true(slices > count / STORE_SLICE);
    assert_int_equal(store.message_count, count);
}

static void test_a_log_that_is_used_does_not_wait_for_its_slice(void **state)
{
    (void)state;
    publish("a", 10, 0);
    publish("a", 10, 0);
    limits.retention.count = 1;
    store_renew_limits(&store);
    publish("a", 10, 0);
    assert_int_equal(store_find(&store, "a", 1)->count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_log_counts_on_over_trims),
    TEST(test_log_forgets_by_age_but_not_its_counter),
    TEST(test_an_empty_log_that_nobody_uses_is_dropped),
    TEST(test_room_is_made_from_the_longest_idle),
    TEST(test_keys_are_remembered_for_their_time),
    TEST(test_what_expires_together_goes_in_slices),
    TEST(test_channels_that_expire_together_go_in_slices),
    TEST(test_a_large_log_makes_room_in_slices),
    TEST(test_a_log_that_lost_room_by_its_limits_trims_in_slices),
    TEST(test_a_log_has_limits_of_its_own),
    TEST(test_idle_logs_get_new_limits_in_slices),
    TEST(test_a_log_that_is_used_does_not_wait_for_its_slice),
    TEST(test_purge_begins_a_new_epoch),
};
UNIT_MAIN(tests)
