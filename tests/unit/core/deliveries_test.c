/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "hub_world.h"

/* All messages of the log have the same key. */
static void join_newest(struct listener *listener)
{
    const struct text channel = text_of("a");
    const struct start start = {.kind = START_EARLIEST};
    *listener = (struct listener){.subscriber.policy = POLICY_NEWEST};
    assert_int_equal(
        subscriber_join(&listener->subscriber, &hub, &listener_ops, TRANSPORT_SSE, &channel, 1, &start), 0);
}

/* As serve(), but who gets nowhere does not hang. */
static void serve_a_while(void)
{
    for (unsigned turns = 0; turns < 1000 && hub_serve(&hub, 1000000); turns++)
        ;
}

static void test_a_long_history_is_passed_over_in_turns(void **state)
{
    struct listener listener;
    (void)state;
    is_near = true;
    near_top = 10000;
    join_newest(&listener);
    assert_true(listener.is_attached);
    assert_int_equal(listener.count, 0);
    assert_in_range(hub.refills, 1, 3);
    assert_true(subscriber_is_fetching(&listener.subscriber));
    const uint64_t at = listener.subscriber.one.offset;
    assert_in_range(at, 1, 1000);
    serve_a_while();
    assert_int_equal(listener.count, 1);
    assert_int_equal(listener.offsets[0], 10000);
    assert_int_equal(listener.resets[0], RESET_NONE);
    assert_in_range(listener.woken, 10000 / at, 10000 / CHANNEL_PAGE);
    assert_false(subscriber_is_fetching(&listener.subscriber));
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_who_is_blocked_meanwhile_goes_on_when_unblocked(void **state)
{
    struct listener listener;
    (void)state;
    is_near = true;
    near_top = 10000;
    join_newest(&listener);
    subscriber_block(&listener.subscriber);
    serve_a_while();
    assert_int_equal(listener.woken, 1);
    subscriber_unblock(&listener.subscriber);
    serve_a_while();
    assert_int_equal(listener.count, 1);
    assert_int_equal(listener.offsets[0], 10000);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

/* The pages that it has passed over are forgotten before it has come to the end. */
static void test_what_was_passed_over_is_not_asked_for_again(void **state)
{
    struct listener listener;
    (void)state;
    join_newest(&listener);
    attach(1, 600, 600);
    answer_page(1, 1, 255, 0);
    serve_a_while();
    timer_wheel_run(&wheel, 5000);
    answer_page(2, 256, 511, 0);
    serve_a_while();
    timer_wheel_run(&wheel, 10000);
    assert_int_equal(listener.subscriber.one.offset, 511);
    answer_page(3, 512, 599, 0);
    serve_a_while();
    assert_int_equal(listener.count, 1);
    assert_int_equal(listener.offsets[0], 600);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 15000);
}

/* Of a key that no message of the window has. */
static void test_a_page_tells_the_newest_of_its_own_keys(void **state)
{
    struct listener listener;
    (void)state;
    join_newest(&listener);
    attach(1, 600, 600);
    struct history_request *history = container_of(asked[1], struct history_request, super);
    history->log = (struct log_state){.epoch = epoch, .oldest = 1, .top = 600};
    for (uint64_t offset = history->from; offset <= history->to; offset++) {
        append_at(&history->messages, offset, (const int64_t[]){1501}, 1);
        ring_at(&history->messages, history->messages.count - 1)->key_hash = 7;
    }
    answer(1, ERROR_NONE);
    serve_a_while();
    answer_page(2, 256, 511, 0);
    serve_a_while();
    answer_page(3, 512, 599, 0);
    serve_a_while();
    assert_int_equal(listener.count, 2);
    assert_int_equal(listener.offsets[0], 255);
    assert_int_equal(listener.offsets[1], 600);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

/* Whose offsets are lower than those that the log before had for the same key. */
static void test_another_log_has_its_own_newest(void **state)
{
    struct listener listener;
    (void)state;
    join_newest(&listener);
    attach(600, 600, 600);
    serve_a_while();
    const unsigned count = listener.count;
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    const struct epoch other = epoch_new("a", 1);
    tell(channel, &(struct feed){.reason = RESET_EPOCH, .log = {.epoch = other, .oldest = 1, .top = 50}});
    mailbox_drain(&mailbox);
    serve_a_while();
    struct history_request *history = container_of(asked[1], struct history_request, super);
    history->log = (struct log_state){.epoch = other, .oldest = 1, .top = 50};
    for (uint64_t offset = history->from; offset <= history->to; offset++)
        append_at(&history->messages, offset, (const int64_t[]){1501}, 1);
    answer(1, ERROR_NONE);
    serve_a_while();
    assert_int_equal(listener.count, count + 2);
    assert_int_equal(listener.resets[count], RESET_EPOCH);
    assert_int_equal(listener.offsets[count + 1], 50);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

/* A reset holds where it stands: it may be taken back. */
static void test_nothing_is_passed_over_before_a_reset_is_told(void **state)
{
    struct listener listener;
    struct delivery deliveries[2];
    (void)state;
    is_near = true;
    near_top = 10000;
    join_newest(&listener);
    serve_a_while();
    subscriber_block(&listener.subscriber);
    channel_reset_subscription(&listener.subscriber.one, RESET_PURGED);
    assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 2), 1);
    assert_true(subscriber_is_fetching(&listener.subscriber));
    assert_int_equal(listener.subscriber.one.offset, 0);
    subscriber_advance(&deliveries[0]);
    subscriber_retreat(&deliveries[0]);
    serve_a_while();
    assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 2), 1);
    assert_int_equal(deliveries[0].reset, RESET_PURGED);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_a_long_history_is_passed_over_in_turns),
    TEST(test_who_is_blocked_meanwhile_goes_on_when_unblocked),
    TEST(test_what_was_passed_over_is_not_asked_for_again),
    TEST(test_a_page_tells_the_newest_of_its_own_keys),
    TEST(test_another_log_has_its_own_newest),
    TEST(test_nothing_is_passed_over_before_a_reset_is_told),
};
UNIT_MAIN(tests)
