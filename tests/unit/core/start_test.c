/* SPDX-License-Identifier: MIT */
/* Where a subscription starts that is neither at a cursor nor at the end of what is attached. */

#include "unit.h"

#include "core/hub_world.h"

/* Joins at 1000 while the broker is away, which is asked again at 2000; its clock is ahead by 500 at most. */
static struct attach_request *join_before_the_broker_is_back(struct listener *listener, const char *cursor)
{
    join(listener, cursor);
    answer(0, ERROR_BROKER_DOWN);
    hub.now_ms = 2000;
    timer_wheel_run(&wheel, 2000);
    assert_int_equal(asked_count, 2);
    asked_count = 1;
    struct attach_request *request = container_of(asked[0], struct attach_request, super);
    request->log.epoch = epoch;
    request->log.oldest = 1;
    request->ahead_ms = 500;
    return request;
}

static void test_now_is_when_the_request_came(void **state)
{
    struct listener listener;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&listener, "now");
    request->log.top = 4;
    append_at(&request->tail, 1, (const int64_t[]){1400, 1500, 1501, 1700}, 4);
    answer(0, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 2);
    assert_int_equal(listener.offsets[0], 3);
    assert_int_equal(listener.offsets[1], 4);
    subscriber_leave(&listener.subscriber);
}

static void test_a_message_whose_clock_went_wrong_is_not_told_as_new(void **state)
{
    struct listener listener;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&listener, "now");
    request->log.top = 4;
    append_at(&request->tail, 1, (const int64_t[]){1400, 9000, 1450, 1700}, 4);
    answer(0, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 1);
    assert_int_equal(listener.offsets[0], 4);
    subscriber_leave(&listener.subscriber);
}

static void test_what_came_since_is_not_known_to_a_broker_without_a_clock(void **state)
{
    struct listener listener;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&listener, "now");
    request->ahead_ms = ATTACH_AT_ONCE;
    request->log.top = 2;
    append_at(&request->tail, 1, (const int64_t[]){1400, 9000}, 2);
    answer(0, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 0);
    subscriber_leave(&listener.subscriber);
}

static void test_the_last_are_counted_from_the_request(void **state)
{
    struct listener listener;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&listener, "last=1");
    request->log.top = 4;
    append_at(&request->tail, 1, (const int64_t[]){1400, 1500, 1501, 1700}, 4);
    answer(0, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 3);
    assert_int_equal(listener.offsets[0], 2);
    subscriber_leave(&listener.subscriber);
}

static void test_who_joins_an_attached_channel_starts_at_its_end(void **state)
{
    struct listener first;
    struct listener second;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&first, "now");
    request->log.top = 1;
    append_at(&request->tail, 1, (const int64_t[]){9000}, 1);
    answer(0, ERROR_NONE);
    join(&second, "now");
    serve();
    assert_int_equal(first.count, 1);
    assert_int_equal(second.count, 0);
    subscriber_leave(&first.subscriber);
    subscriber_leave(&second.subscriber);
}

static void test_what_came_since_is_looked_for_below_the_tail(void **state)
{
    struct listener listener;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&listener, "now");
    request->log.top = 600;
    append_at(&request->tail, 599, (const int64_t[]){1600, 1700}, 2);
    answer(0, ERROR_NONE);
    answer_page(1, 512, 598, 0);
    assert_false(listener.is_attached);
    answer_page(2, 256, 511, 500);
    assert_true(listener.is_attached);
    serve();
    assert_int_equal(listener.count, 100);
    assert_int_equal(listener.offsets[0], 501);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

static void test_who_may_have_missed_some_before_the_attach_is_told(void **state)
{
    struct listener listener;
    (void)state;
    struct attach_request *request = join_before_the_broker_is_back(&listener, "now");
    request->log.top = 6;
    request->log.oldest = 5;
    append_at(&request->tail, 5, (const int64_t[]){1600, 1700}, 2);
    answer(0, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 3);
    assert_int_equal(listener.resets[0], RESET_TRIMMED);
    assert_true(listener.missed[0] == MISSED_UNKNOWN);
    assert_int_equal(listener.offsets[1], 5);
    subscriber_leave(&listener.subscriber);
}

static void test_a_page_that_ended_early_is_followed_by_the_next(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(0));
    attach(1, 8, 7);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    assert_int_equal(request->to, 6);
    request->log.epoch = epoch;
    request->log.top = 8;
    request->log.oldest = 1;
    request->to = 2;
    append_at(&request->messages, 1, (const int64_t[]){0, 0}, 2);
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 2);
    assert_int_equal(asked_count, 3);
    request = container_of(asked[2], struct history_request, super);
    assert_int_equal(request->from, 3);
    request->log.epoch = epoch;
    request->log.top = 8;
    request->log.oldest = 1;
    append_at(&request->messages, 3, (const int64_t[]){0, 0, 0, 0}, 4);
    answer(2, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 8);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
}

/* What this shard publishes is in its mailbox until the loop comes to it, but answered already. */
static void test_what_was_published_before_is_not_new_to_who_joins_now(void **state)
{
    struct listener before;
    struct listener after;
    (void)state;
    is_near = true;
    join(&before, "now");
    struct message *message = message_at(++near_top);
    tell(before.subscriber.one.channel, &(struct feed){.message = message});
    message_unref(message);
    join(&after, "now");
    mailbox_drain(&mailbox);
    serve();
    assert_int_equal(before.count, 1);
    assert_int_equal(before.offsets[0], 4);
    assert_int_equal(after.count, 0);
    near_top++;
    message = message_at(near_top);
    tell(before.subscriber.one.channel, &(struct feed){.message = message});
    message_unref(message);
    mailbox_drain(&mailbox);
    serve();
    assert_int_equal(after.count, 1);
    assert_int_equal(after.offsets[0], 5);
    subscriber_leave(&before.subscriber);
    subscriber_leave(&after.subscriber);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_what_was_published_before_is_not_new_to_who_joins_now),
    TEST(test_now_is_when_the_request_came),
    TEST(test_a_message_whose_clock_went_wrong_is_not_told_as_new),
    TEST(test_what_came_since_is_not_known_to_a_broker_without_a_clock),
    TEST(test_the_last_are_counted_from_the_request),
    TEST(test_who_joins_an_attached_channel_starts_at_its_end),
    TEST(test_what_came_since_is_looked_for_below_the_tail),
    TEST(test_who_may_have_missed_some_before_the_attach_is_told),
    TEST(test_a_page_that_ended_early_is_followed_by_the_next),
};
UNIT_MAIN(tests)
