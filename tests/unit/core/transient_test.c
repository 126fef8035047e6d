/* SPDX-License-Identifier: MIT */
/* Transient messages as a subscriber of one shard is told them. */

#include "unit.h"

#include "hub_world.h"

static void feed_transient(uint64_t offset)
{
    struct message *message = message_at(offset);
    message->is_transient = true;
    tell(container_of(asked[0], struct attach_request, super)->channel, &(struct feed){.message = message});
    message_unref(message);
    mailbox_drain(&mailbox);
}

static void test_transient_messages_stand_behind_the_message_of_their_offset(void **state)
{
    static const uint64_t expected[] = {4, 4, 4, 5, 5};
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    feed(4);
    feed_transient(4);
    feed_transient(4);
    feed(5);
    feed_transient(5);
    serve();
    assert_int_equal(listener.count, 0);
    subscriber_unblock(&listener.subscriber);
    serve();
    assert_int_equal(listener.count, 5);
    assert_memory_equal(listener.offsets, expected, sizeof(expected));
    assert_int_equal(listener.subscriber.one.channel->passing.count, 0);
    subscriber_leave(&listener.subscriber);
}

static void test_a_transient_message_that_was_not_taken_is_told_again(void **state)
{
    struct listener listener;
    struct delivery deliveries[3];
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    feed_transient(3);
    feed_transient(3);
    feed(4);
    for (unsigned turn = 0; turn < 2; turn++) {
        assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 3), 3);
        assert_true(deliveries_have_transient(deliveries, 3));
        for (unsigned i = 0; i < 3; i++)
            subscriber_advance(&deliveries[i]);
        assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 3), 0);
        for (unsigned i = 3; i > 0; i--)
            subscriber_retreat(&deliveries[i - 1]);
    }
    subscriber_leave(&listener.subscriber);
}

static void test_what_is_told_of_transient_messages_never_goes_back(void **state)
{
    struct listener listener;
    struct listener late;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    feed_transient(2);
    serve();
    assert_int_equal(listener.count, 0);
    feed(4);
    feed_transient(5); /* a letter was lost before it */
    serve();
    assert_int_equal(listener.subscriber.one.channel->log.top, 5);
    assert_int_equal(asked_count, 2); /* the page with what was lost */
    join(&late, "now");
    serve();
    assert_int_equal(late.count, 0);
    subscriber_leave(&late.subscriber);
    subscriber_leave(&listener.subscriber);
    answer(1, ERROR_BROKER_DOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_transient_messages_stand_behind_the_message_of_their_offset),
    TEST(test_a_transient_message_that_was_not_taken_is_told_again),
    TEST(test_what_is_told_of_transient_messages_never_goes_back),
};
UNIT_MAIN(tests)
