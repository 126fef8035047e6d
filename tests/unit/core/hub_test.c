/* SPDX-License-Identifier: MIT */
/* The hub and its subscribers: what arrives, in what order, and what the broker is asked. */

#include "unit.h"

#include "core/hub_world.h"
#include "failing.h"

static void test_one_attach_for_all_and_the_feed_follows_the_tail(void **state)
{
    struct listener now;
    struct listener earliest;
    (void)state;
    join(&now, "now");
    join(&earliest, "earliest");
    assert_int_equal(asked_count, 1);
    attach(1, 3, 1);
    assert_true(now.is_attached);
    assert_int_equal(earliest.count, 3);
    feed(4);
    serve();
    assert_int_equal(now.count, 1);
    assert_int_equal(now.offsets[0], 4);
    assert_int_equal(earliest.offsets[3], 4);
    subscriber_leave(&now.subscriber);
    subscriber_leave(&earliest.subscriber);
}

static void test_a_failed_attach_fails_all_who_wait(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    answer(0, ERROR_MEMORY_LIMIT);
    assert_int_equal(listener.error, ERROR_MEMORY_LIMIT);
    assert_null(listener.subscriber.subscriptions);
    asked_count = 0;
}

static void test_a_broker_that_is_away_is_asked_again(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    answer(0, ERROR_BROKER_DOWN);
    assert_int_equal(listener.error, ERROR_NONE);
    timer_wheel_run(&wheel, 2000);
    assert_int_equal(asked_count, 2);
    assert_ptr_equal(asked[1], asked[0]);
    attach(1, 3, 1);
    assert_true(listener.is_attached);
    subscriber_leave(&listener.subscriber);
}

static void test_nobody_is_asked_again_for_a_channel_that_was_left(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    answer(0, ERROR_BROKER_DOWN);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 2000);
    assert_int_equal(asked_count, 1);
    assert_true(hub_is_idle(&hub));
    asked_count = 0;
}

static void test_a_gap_is_told_with_its_number(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(2));
    attach(6, 8, 6);
    assert_int_equal(listener.resets[0], RESET_TRIMMED);
    assert_int_equal(listener.missed[0], 3);
    assert_int_equal(listener.offsets[1], 6);
    assert_int_equal(listener.count, 4);
    subscriber_leave(&listener.subscriber);
}

static void test_what_is_below_the_window_is_read_once_for_all(void **state)
{
    struct listener first;
    struct listener second;
    (void)state;
    join(&first, cursor_at(0));
    join(&second, cursor_at(3));
    attach(1, 20, 11);
    assert_int_equal(asked_count, 2);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    assert_int_equal(request->from, 1);
    assert_int_equal(request->to, 10);
    assert_int_equal(first.count, 0);
    request->log.epoch = epoch;
    request->log.top = 20;
    request->log.oldest = 1;
    for (uint64_t offset = 1; offset <= 10; offset++)
        ring_append(&request->messages, message_at(offset));
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(first.count, 20);
    assert_int_equal(second.count, 17);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(first.offsets[i], i + 1);
    subscriber_leave(&first.subscriber);
    subscriber_leave(&second.subscriber);
    /* The page is kept for a while for others. */
    timer_wheel_run(&wheel, 10000);
}

static void test_a_cursor_ahead_is_checked_with_the_broker(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(9));
    attach(1, 3, 1);
    assert_false(listener.is_attached);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    request->log.epoch = epoch;
    request->log.oldest = 1;
    request->log.top = 9;
    answer(1, ERROR_NONE);
    assert_true(listener.is_attached);
    assert_int_equal(listener.count, 0);
    for (uint64_t offset = 4; offset <= 10; offset++)
        feed(offset);
    serve();
    assert_int_equal(listener.count, 1);
    assert_int_equal(listener.offsets[0], 10);
    subscriber_leave(&listener.subscriber);
}

static void test_a_hole_in_the_feed_is_read_again_from_the_log(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    feed(6);
    serve();
    assert_int_equal(listener.count, 0);
    assert_int_equal(asked_count, 2);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    assert_int_equal(request->to, 5);
    request->log.epoch = epoch;
    request->log.oldest = 1;
    request->log.top = 6;
    ring_append(&request->messages, message_at(4));
    ring_append(&request->messages, message_at(5));
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(listener.offsets[i], i + 4);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_a_channel_that_could_not_be_joined_is_detached(void **state)
{
    const struct text channel = {"a", 1};
    const struct start start = {.kind = START_NOW};
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    /* What is left of it lingers. */
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 2100);
    answer(1, ERROR_NONE);
    asked_count = 0;
    struct channel *found;
    assert_int_equal(channel_get(&hub, "a", 1, &found), ERROR_NONE);
    memory_is_out = true;
    enum error_code error =
        subscriber_join(&listener.subscriber, &hub, &listener_ops, TRANSPORT_SSE, &channel, 1, &start);
    memory_is_out = false;
    assert_int_equal(error, ERROR_OUT_OF_MEMORY);
    attach(1, 3, 1);
    timer_wheel_run(&wheel, 4200);
    assert_int_equal(asked_count, 2);
    assert_int_equal(asked[1]->operation, BROKER_DETACH);
}

static void test_a_page_that_could_not_be_read_is_asked_for_again(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(0));
    attach(1, 8, 5);
    assert_int_equal(asked_count, 2);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    request->log.epoch = epoch;
    answer(1, ERROR_BROKER_DOWN);
    serve();
    assert_int_equal(listener.count, 0);
    timer_wheel_run(&wheel, 1400);
    assert_int_equal(asked_count, 2);
    timer_wheel_run(&wheel, 1600);
    assert_int_equal(asked_count, 3);
    assert_ptr_equal(asked[2], asked[1]);
    request->log.top = 8;
    request->log.oldest = 1;
    append_at(&request->messages, 1, (const int64_t[]){0, 0, 0, 0}, 4);
    answer(2, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 8);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_a_page_of_another_log_is_asked_for_again(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(0));
    attach(1, 8, 5);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    request->log.epoch = epoch_new("a", 1);
    request->log.top = 8;
    append_at(&request->messages, 1, (const int64_t[]){0, 0, 0, 0}, 4);
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 0);
    timer_wheel_run(&wheel, 1600);
    assert_int_equal(asked_count, 3);
    subscriber_leave(&listener.subscriber);
    request->log.epoch = epoch;
    answer(2, ERROR_NONE);
    timer_wheel_run(&wheel, 10000);
}

/* Of 200. The window keeps 100; the log as much, by the time it is asked. */
static void expect_to_be_told_what_was_missed(const char *since, uint64_t top)
{
    struct listener listener;
    join(&listener, since);
    attach(1, top, 1);
    subscriber_block(&listener.subscriber);
    for (uint64_t offset = top + 1; offset <= 200; offset++)
        feed(offset);
    subscriber_unblock(&listener.subscriber);
    serve();
    assert_int_equal(listener.count, 0);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    assert_int_equal(request->from, 1);
    assert_int_equal(request->to, 100);
    request->log.epoch = epoch;
    request->log.top = 200;
    request->log.oldest = 101;
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 101);
    assert_int_equal(listener.resets[0], RESET_TRIMMED);
    assert_int_equal(listener.missed[0], 100 - top);
    assert_int_equal(listener.offsets[1], 101);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_a_slow_reader_that_falls_off_the_window_is_told_what_it_missed(void **state)
{
    (void)state;
    expect_to_be_told_what_was_missed("now", 3);
}

static void test_a_slow_reader_from_the_earliest_is_told_what_it_missed_since(void **state)
{
    (void)state;
    expect_to_be_told_what_was_missed("earliest", 0);
}

static void test_a_hole_in_a_page_is_told(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(0));
    attach(1, 8, 7);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    request->log.epoch = epoch;
    request->log.top = 8;
    request->log.oldest = 1;
    append_at(&request->messages, 1, (const int64_t[]){0, 0}, 2);
    append_at(&request->messages, 5, (const int64_t[]){0}, 1);
    answer(1, ERROR_NONE);
    serve();
    const uint64_t told[] = {1, 2, 0, 5, 0, 7, 8};
    assert_int_equal(listener.count, 7);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(listener.offsets[i], told[i]);
    assert_int_equal(listener.missed[2], 2);
    assert_int_equal(listener.missed[4], 1);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_a_reset_goes_on_from_the_oldest_message_kept(void **state)
{
    struct listener listener;
    char text[POSITION_TEXT_MAX + 1];
    const struct epoch other = epoch_new("a", 1);
    (void)state;
    text[position_format(text, &other, 2)] = '\0';
    join(&listener, text);
    attach(2, 4, 2);
    answer_question(&(const struct ancestry){0}, 4);
    const uint64_t told[] = {0, 2, 3, 4};
    assert_int_equal(listener.count, 4);
    assert_int_equal(listener.resets[0], RESET_EPOCH);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(listener.offsets[i], told[i]);
    subscriber_leave(&listener.subscriber);
}

static void test_a_blocked_subscriber_is_told_of_a_reset_later(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    feed_reset(RESET_PURGED);
    serve();
    assert_int_equal(listener.count, 0);
    subscriber_unblock(&listener.subscriber);
    serve();
    assert_int_equal(listener.count, 1);
    assert_int_equal(listener.resets[0], RESET_PURGED);
    subscriber_leave(&listener.subscriber);
}

static void test_a_message_that_comes_twice_makes_no_hole(void **state)
{
    struct listener now;
    struct listener earlier;
    (void)state;
    join(&now, "now");
    attach(1, 3, 1);
    feed(2);
    feed(4);
    serve();
    assert_int_equal(now.count, 1);
    join(&earlier, cursor_at(1));
    answer_page(1, 1, 3, 0);
    serve();
    assert_int_equal(earlier.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(earlier.offsets[i], i + 2);
    subscriber_leave(&now.subscriber);
    subscriber_leave(&earlier.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_a_message_without_memory_for_it_is_read_from_the_log(void **state)
{
    struct listener listener;
    struct message *message = message_at(5);
    (void)state;
    join(&listener, "now");
    attach(1, 4, 1);
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    tell(channel, &(struct feed){.message = message});
    message_unref(message);
    /* The window grows with its fifth. */
    memory_is_out = true;
    mailbox_drain(&mailbox);
    memory_is_out = false;
    feed(6);
    serve();
    answer_page(1, 1, 5, 0);
    serve();
    assert_int_equal(listener.count, 2);
    assert_int_equal(listener.offsets[0], 5);
    assert_int_equal(listener.offsets[1], 6);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void join_while_much_is_trimmed(struct listener *listener, const char *since)
{
    join(listener, since);
    attach(1, 600, 598);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    assert_int_equal(request->to, 255);
    request->log.epoch = epoch;
    request->log.top = 600;
    request->log.oldest = 400;
    answer(1, ERROR_NONE);
    serve();
}

static void test_what_is_trimmed_while_a_page_is_read_is_not_asked_for(void **state)
{
    struct listener listener;
    (void)state;
    join_while_much_is_trimmed(&listener, cursor_at(9));
    assert_int_equal(listener.resets[0], RESET_TRIMMED);
    answer_page(2, 400, 511, 0);
    serve();
    assert_int_equal(listener.offsets[listener.count - 1], 511);
    subscriber_leave(&listener.subscriber);
    answer_page(3, 512, 597, 0);
    timer_wheel_run(&wheel, 10000);
}

static void expect_what_is_kept(const char *since)
{
    struct listener listener;
    join_while_much_is_trimmed(&listener, since);
    answer_page(2, 400, 511, 0);
    serve();
    assert_int_equal(listener.resets[0], RESET_NONE);
    assert_int_equal(listener.offsets[0], 400);
    assert_int_equal(listener.offsets[listener.count - 1], 511);
    subscriber_leave(&listener.subscriber);
    answer_page(3, 512, 597, 0);
    timer_wheel_run(&wheel, 10000);
}

static void test_nothing_that_is_gone_is_missing_from_the_earliest(void **state)
{
    (void)state;
    expect_what_is_kept("earliest");
}

static void test_nothing_that_is_gone_is_missing_from_the_last(void **state)
{
    (void)state;
    expect_what_is_kept("last=599");
}

static void test_retreating_tells_the_same_reset_again(void **state)
{
    struct listener listener;
    struct delivery deliveries[8];
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    feed_reset(RESET_PURGED);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 8), 1);
        assert_int_equal(deliveries[0].reset, RESET_PURGED);
        assert_true(deliveries[0].missed == MISSED_UNKNOWN);
        subscriber_advance(&deliveries[0]);
        assert_int_equal(hub.resets_told, 1);
        subscriber_retreat(&deliveries[0]);
        assert_int_equal(hub.resets_told, 0);
    }
    subscriber_leave(&listener.subscriber);
}

static void test_more_than_there_is_of_the_last_is_all(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "last=9");
    attach(2, 4, 2);
    serve();
    assert_int_equal(listener.count, 3);
    assert_int_equal(listener.offsets[0], 2);
    subscriber_leave(&listener.subscriber);
}

static void test_a_cursor_one_ahead_of_the_log_is_told_so(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(4));
    attach(1, 3, 1);
    assert_false(listener.is_attached);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    request->log.epoch = epoch;
    request->log.oldest = 1;
    request->log.top = 3;
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.resets[0], RESET_FUTURE);
    assert_int_equal(listener.count, 4);
    subscriber_leave(&listener.subscriber);
}

static void test_a_blocked_subscriber_is_left_alone_until_unblocked(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    unsigned woken = listener.woken;
    feed(4);
    feed(5);
    serve();
    assert_int_equal(listener.woken, woken);
    subscriber_unblock(&listener.subscriber);
    serve();
    assert_int_equal(listener.count, 2);
    subscriber_leave(&listener.subscriber);
}

static void test_retreating_tells_the_same_again(void **state)
{
    struct listener listener;
    struct delivery deliveries[8];
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    for (uint64_t offset = 4; offset <= 6; offset++)
        feed(offset);
    assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 8), 3);
    for (unsigned i = 0; i < 3; i++)
        subscriber_advance(&deliveries[i]);
    for (unsigned i = 3; i > 1; i--)
        subscriber_retreat(&deliveries[i - 1]);
    assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 8), 2);
    assert_int_equal(deliveries[0].message->offset, 5);
    subscriber_leave(&listener.subscriber);
}

static void test_a_channel_lingers_and_is_then_detached(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 1900);
    assert_int_equal(asked_count, 1);
    join(&listener, "now");
    assert_int_equal(asked_count, 1);
    assert_true(listener.is_attached);
    subscriber_leave(&listener.subscriber);
    hub.now_ms = 3000;
    timer_wheel_run(&wheel, 4100);
    assert_int_equal(asked_count, 2);
    assert_int_equal(asked[1]->operation, BROKER_DETACH);
}

static void visit_channel(struct listener *listener, const char *name)
{
    const struct text channel = text_of(name);
    const struct start start = {.kind = START_NOW};
    *listener = (struct listener){0};
    assert_int_equal(
        subscriber_join(&listener->subscriber, &hub, &listener_ops, TRANSPORT_SSE, &channel, 1, &start), 0);
    subscriber_leave(&listener->subscriber);
}

static void test_of_too_many_channels_that_linger_those_left_longest_ago_go(void **state)
{
    struct listener listener;
    (void)state;
    is_near = true;
    hub.settings.linger_most = 2;
    visit_channel(&listener, "a");
    visit_channel(&listener, "b");
    visit_channel(&listener, "a");
    assert_int_equal(hub.lingering_count, 2);
    visit_channel(&listener, "c");
    assert_int_equal(hub.lingering_count, 2);
    timer_wheel_run(&wheel, 1100);
    assert_int_equal(asked_count, 1);
    assert_int_equal(asked[0]->operation, BROKER_DETACH);
    assert_true(text_equals(container_of(asked[0], struct attach_request, super)->name, text_of("b")));
    answer(0, ERROR_NONE);
    assert_int_equal(hub.channel_count, 2);
    /* Who comes back before it goes has it kept. */
    visit_channel(&listener, "d");
    join(&listener, "now");
    timer_wheel_run(&wheel, 1200);
    assert_int_equal(asked_count, 1);
    subscriber_leave(&listener.subscriber);
    assert_int_equal(hub.lingering_count, 2);
    hub_close(&hub);
    assert_int_equal(hub.lingering_count, 0);
    assert_int_equal(asked_count, 4);
    answer(1, ERROR_NONE);
    answer(2, ERROR_NONE);
}

static void test_a_near_broker_attaches_and_brings_pages_in_the_call(void **state)
{
    struct listener listener;
    (void)state;
    is_near = true;
    near_top = 600;
    join(&listener, "earliest");
    assert_true(listener.is_attached);
    assert_int_equal(listener.woken, 1);
    assert_true(hub.requests_pending == 0);
    subscriber_leave(&listener.subscriber);
}

static void test_a_near_broker_that_refuses_is_told_to_who_joins(void **state)
{
    const struct text channel = text_of("a");
    const struct start start = {.kind = START_NOW};
    struct listener listener = {0};
    (void)state;
    is_near = true;
    near_error = ERROR_MEMORY_LIMIT;
    assert_int_equal(
        subscriber_join(&listener.subscriber, &hub, &listener_ops, TRANSPORT_SSE, &channel, 1, &start),
        ERROR_MEMORY_LIMIT);
    assert_int_equal(listener.error, ERROR_NONE);
    assert_true(hub_is_idle(&hub));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_a_near_broker_attaches_and_brings_pages_in_the_call),
    TEST(test_a_near_broker_that_refuses_is_told_to_who_joins),
    TEST(test_one_attach_for_all_and_the_feed_follows_the_tail),
    TEST(test_a_failed_attach_fails_all_who_wait),
    TEST(test_a_broker_that_is_away_is_asked_again),
    TEST(test_nobody_is_asked_again_for_a_channel_that_was_left),
    TEST(test_a_gap_is_told_with_its_number),
    TEST(test_what_is_below_the_window_is_read_once_for_all),
    TEST(test_a_cursor_ahead_is_checked_with_the_broker),
    TEST(test_a_hole_in_the_feed_is_read_again_from_the_log),
    TEST(test_a_channel_that_could_not_be_joined_is_detached),
    TEST(test_a_page_that_could_not_be_read_is_asked_for_again),
    TEST(test_a_page_of_another_log_is_asked_for_again),
    TEST(test_a_slow_reader_that_falls_off_the_window_is_told_what_it_missed),
    TEST(test_a_slow_reader_from_the_earliest_is_told_what_it_missed_since),
    TEST(test_a_hole_in_a_page_is_told),
    TEST(test_a_reset_goes_on_from_the_oldest_message_kept),
    TEST(test_a_blocked_subscriber_is_told_of_a_reset_later),
    TEST(test_a_message_that_comes_twice_makes_no_hole),
    TEST(test_a_message_without_memory_for_it_is_read_from_the_log),
    TEST(test_what_is_trimmed_while_a_page_is_read_is_not_asked_for),
    TEST(test_nothing_that_is_gone_is_missing_from_the_earliest),
    TEST(test_nothing_that_is_gone_is_missing_from_the_last),
    TEST(test_retreating_tells_the_same_reset_again),
    TEST(test_more_than_there_is_of_the_last_is_all),
    TEST(test_a_cursor_one_ahead_of_the_log_is_told_so),
    TEST(test_a_blocked_subscriber_is_left_alone_until_unblocked),
    TEST(test_retreating_tells_the_same_again),
    TEST(test_a_channel_lingers_and_is_then_detached),
    TEST(test_of_too_many_channels_that_linger_those_left_longest_ago_go),
};
UNIT_MAIN(tests)
