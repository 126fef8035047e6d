/* SPDX-License-Identifier: MIT */
/* Logs that go on under another epoch, and what those are told who come back. */

#include "unit.h"

#include "core/hub_world.h"

/* Two come back with one cursor: whatever has to be asked is asked once. Returns what each is told. */
static enum reset_reason reason_for(const char *cursor, uint64_t top, uint64_t *missed)
{
    static const struct ancestry nobody = {0};
    struct listener listeners[2];
    unsigned before = asked_count;
    for (unsigned i = 0; i < 2; i++)
        join(&listeners[i], cursor);
    assert_in_range(asked_count, before, before + 1);
    if (asked_count > before)
        answer_question(&nobody, top);
    serve();
    for (unsigned i = 0; i < 2; i++) {
        assert_true(listeners[i].is_attached);
        subscriber_leave(&listeners[i].subscriber);
    }
    assert_int_equal(listeners[0].resets[0], listeners[1].resets[0]);
    if (missed)
        *missed = listeners[0].missed[0];
    return listeners[0].count > 0 ? listeners[0].resets[0] : RESET_NONE;
}

static void test_a_renewal_is_silent_for_who_has_seen_nothing_that_is_gone(void **state)
{
    struct ancestry ancestry = {0};
    struct listener live;
    struct listener away;
    char before[POSITION_TEXT_MAX + 1];
    (void)state;
    strcpy(before, cursor_at(2));
    join(&live, "now");
    attach(1, 3, 1);
    feed_renewal(&ancestry, 3, false);
    feed_renewal(&ancestry, 3, false);
    assert_int_equal(live.count, 0);
    feed(4);
    join(&away, before);
    serve();
    assert_int_equal(asked_count, 1);
    assert_int_equal(live.count, 1);
    assert_int_equal(live.offsets[0], 4);
    assert_int_equal(away.count, 2);
    assert_int_equal(away.offsets[0], 3);
    assert_int_equal(away.offsets[1], 4);
    subscriber_leave(&live.subscriber);
    subscriber_leave(&away.subscriber);
}

static void test_who_has_seen_what_is_gone_is_told_how_many(void **state)
{
    struct ancestry ancestry = {0};
    struct listener live;
    struct listener slow;
    char seen[2][POSITION_TEXT_MAX + 1];
    uint64_t missed;
    (void)state;
    strcpy(seen[0], cursor_at(5));
    strcpy(seen[1], cursor_at(9));
    join(&live, "now");
    join(&slow, cursor_at(6));
    attach(1, 9, 1);
    serve();
    feed_renewal(&ancestry, 7, false);
    feed_renewal(&ancestry, 5, false);
    assert_int_equal(live.count, 2);
    assert_int_equal(live.resets[0], RESET_FAILOVER);
    assert_int_equal(live.missed[0], 2);
    assert_int_equal(live.missed[1], 2);
    assert_int_equal(reason_for(seen[0], 5, NULL), RESET_NONE);
    assert_int_equal(reason_for(seen[1], 5, &missed), RESET_FAILOVER);
    assert_int_equal(missed, 4);
    feed(6);
    serve();
    assert_int_equal(live.count, 3);
    assert_int_equal(live.offsets[2], 6);
    assert_int_equal(slow.offsets[slow.count - 1], 6);
    subscriber_leave(&live.subscriber);
    subscriber_leave(&slow.subscriber);
    timer_wheel_run(&wheel, 10000);
    asked_count = 1;
}

static void test_two_losses_that_are_told_at_once_are_one(void **state)
{
    struct ancestry ancestry = {0};
    struct listener listener;
    struct delivery deliveries[8];
    (void)state;
    join(&listener, "now");
    attach(1, 9, 1);
    subscriber_block(&listener.subscriber);
    feed_renewal(&ancestry, 7, false);
    feed_renewal(&ancestry, 4, false);
    assert_int_equal(subscriber_read(&listener.subscriber, deliveries, 8), 1);
    assert_int_equal(deliveries[0].reset, RESET_FAILOVER);
    assert_int_equal(deliveries[0].missed, 5);
    subscriber_leave(&listener.subscriber);
}

static void test_who_was_told_of_a_gap_and_nothing_since_is_not_told_again(void **state)
{
    struct ancestry ancestry = {0};
    struct listener old;
    struct listener new;
    (void)state;
    join(&old, "now");
    attach(4, 3, 4);
    feed_renewal(&ancestry, 3, true);
    assert_int_equal(old.resets[0], RESET_FAILOVER);
    assert_true(old.missed[0] == MISSED_UNKNOWN);
    join(&new, "now");
    feed_renewal(&ancestry, 3, true);
    assert_int_equal(old.count, 1);
    assert_int_equal(new.count, 1);
    feed(4);
    serve();
    feed_renewal(&ancestry, 4, true);
    assert_int_equal(old.count, 3);
    assert_int_equal(new.count, 3);
    subscriber_leave(&old.subscriber);
    subscriber_leave(&new.subscriber);
}

/* The node is behind: another one has met the new epoch already. */
static void test_the_broker_is_asked_about_an_epoch_that_is_not_known(void **state)
{
    struct ancestry ancestry = {0};
    struct listener live;
    struct listener ahead;
    struct epoch old = epoch;
    (void)state;
    join(&live, "now");
    attach(1, 3, 1);
    epoch = epoch_new("a", 1);
    join(&ahead, cursor_at(5));
    assert_int_equal(asked_count, 2);
    assert_false(ahead.is_attached);
    struct epoch new = epoch;
    epoch = old;
    const struct forebear forebear = {old, false, 3};
    ancestry_add(&ancestry, &forebear);
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    tell(channel, &(struct feed){.log = {new, ancestry, 3, 1}});
    mailbox_drain(&mailbox);
    epoch = new;
    /* The new epoch is known now; how far the log has come is not. The first answer is for nobody any more.
     */
    assert_int_equal(asked_count, 3);
    answer_question(&ancestry, 5);
    answer_question(&ancestry, 5);
    assert_true(ahead.is_attached);
    for (uint64_t offset = 4; offset <= 6; offset++)
        feed(offset);
    serve();
    assert_int_equal(live.count, 3);
    assert_int_equal(ahead.count, 1);
    assert_int_equal(ahead.offsets[0], 6);
    subscriber_leave(&live.subscriber);
    subscriber_leave(&ahead.subscriber);
}

static void test_the_answer_says_which_forebears_the_log_has(void **state)
{
    struct ancestry ancestry = {0};
    struct listener listener;
    const struct epoch now = epoch;
    (void)state;
    epoch = epoch_new("a", 1);
    const struct forebear forebear = {epoch, false, 3};
    ancestry_add(&ancestry, &forebear);
    char cursor[POSITION_TEXT_MAX + 1];
    strcpy(cursor, cursor_at(5));
    epoch = now;
    join(&listener, cursor);
    attach(1, 4, 1);
    assert_false(listener.is_attached);
    answer_question(&ancestry, 4);
    assert_int_equal(listener.resets[0], RESET_FAILOVER);
    assert_int_equal(listener.missed[0], 2);
    assert_int_equal(listener.offsets[1], 4);
    assert_int_equal(listener.count, 2);
    subscriber_leave(&listener.subscriber);
}

static void test_a_page_of_a_log_that_was_set_back_is_read_again(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(0));
    attach(1, 20, 11);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    request->log.epoch = epoch;
    request->log.oldest = 1;
    request->log.top = 8;
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.count, 0);
    struct ancestry ancestry = {0};
    feed_renewal(&ancestry, 8, false);
    subscriber_leave(&listener.subscriber);
    request = container_of(asked[2], struct history_request, super);
    assert_int_equal(request->to, 8);
    answer(2, ERROR_NONE);
    asked_count = 1;
}

static void test_the_attach_says_which_forebears_a_log_has(void **state)
{
    struct listener kept;
    struct listener known;
    struct listener unknown;
    (void)state;
    join(&kept, cursor_at(2));
    join(&known, cursor_at(9));
    const struct forebear forebear = {epoch, false, 3};
    ancestry_add(&container_of(asked[0], struct attach_request, super)->log.ancestry, &forebear);
    epoch = epoch_new("a", 1);
    join(&unknown, cursor_at(2));
    epoch = epoch_new("a", 1);
    struct attach_request *request = container_of(asked[0], struct attach_request, super);
    const struct ancestry ancestry = request->log.ancestry;
    attach(1, 3, 1);
    answer_question(&ancestry, 3);
    assert_int_equal(kept.count, 1);
    assert_int_equal(kept.offsets[0], 3);
    assert_int_equal(known.resets[0], RESET_FAILOVER);
    assert_int_equal(known.missed[0], 6);
    assert_int_equal(unknown.resets[0], RESET_EPOCH);
    subscriber_leave(&kept.subscriber);
    subscriber_leave(&known.subscriber);
    subscriber_leave(&unknown.subscriber);
}

static void test_after_a_purge_nothing_of_before_is_known(void **state)
{
    struct ancestry ancestry = {0};
    struct listener listener;
    char before[POSITION_TEXT_MAX + 1];
    (void)state;
    strcpy(before, cursor_at(3));
    join(&listener, "now");
    attach(4, 3, 4);
    feed_renewal(&ancestry, 3, false);
    assert_int_equal(reason_for(before, 3, NULL), RESET_NONE);
    feed_reset(RESET_PURGED);
    assert_int_equal(reason_for(before, 3, NULL), RESET_EPOCH);
    subscriber_leave(&listener.subscriber);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_a_renewal_is_silent_for_who_has_seen_nothing_that_is_gone),
    TEST(test_who_has_seen_what_is_gone_is_told_how_many),
    TEST(test_two_losses_that_are_told_at_once_are_one),
    TEST(test_who_was_told_of_a_gap_and_nothing_since_is_not_told_again),
    TEST(test_the_broker_is_asked_about_an_epoch_that_is_not_known),
    TEST(test_the_answer_says_which_forebears_the_log_has),
    TEST(test_a_page_of_a_log_that_was_set_back_is_read_again),
    TEST(test_the_attach_says_which_forebears_a_log_has),
    TEST(test_after_a_purge_nothing_of_before_is_known),
};
UNIT_MAIN(tests)
