/* SPDX-License-Identifier: MIT */
/* The hub and its subscribers with a broker of the test's own: what arrives, in what order, and what is asked
 * for. */

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "core/channel.h"
#include "core/hub.h"
#include "failing.h"

static struct broker_request *asked[16];
static unsigned asked_count;
static struct mailbox mailbox;
static struct timer_wheel wheel;
static struct hub hub;
static struct epoch epoch;

/* An engine that answers in the call: its log has the messages 1 to near_top, the last one in the tail. */
static bool is_near;
static uint64_t near_top;
static enum error_code near_error;

static struct message *message_at(uint64_t offset);

static void near_answer(struct broker_request *request)
{
    struct attach_request *attach = container_of(request, struct attach_request, super);
    struct history_request *history = container_of(request, struct history_request, super);
    request->error = near_error;
    if (near_error == ERROR_NONE && request->operation == BROKER_ATTACH) {
        attach->log.epoch = epoch;
        attach->log.oldest = 1;
        attach->log.top = near_top;
        ring_append(&attach->tail, message_at(near_top));
    } else if (near_error == ERROR_NONE && request->operation == BROKER_HISTORY) {
        history->log.epoch = epoch;
        history->log.oldest = 1;
        history->log.top = near_top;
        for (uint64_t offset = history->from; offset <= history->to; offset++)
            ring_append(&history->messages, message_at(offset));
    }
}

static bool fake_submit(struct broker *broker, struct broker_request *request)
{
    (void)broker;
    if (is_near && request->operation != BROKER_DETACH) {
        near_answer(request);
        return true;
    }
    assert_true(asked_count < 16);
    asked[asked_count++] = request;
    return false;
}

static const struct broker_ops fake_ops = {.scheme = "fake", .submit = fake_submit};
static struct broker fake = {.ops = &fake_ops};

struct listener {
    struct subscriber subscriber;
    unsigned woken;
    bool is_attached;
    enum error_code error;
    uint64_t offsets[1024];
    enum reset_reason resets[1024];
    uint64_t missed[1024];
    unsigned count;
};

static void listener_wake(struct subscriber *subscriber, bool is_first)
{
    struct listener *listener = container_of(subscriber, struct listener, subscriber);
    struct delivery deliveries[8];
    size_t count;
    listener->woken++;
    listener->is_attached = listener->is_attached || is_first;
    while ((count = subscriber_read(subscriber, deliveries, 8)) > 0) {
        for (size_t i = 0; i < count; i++) {
            listener->offsets[listener->count] = deliveries[i].message ? deliveries[i].message->offset : 0;
            listener->resets[listener->count] = deliveries[i].reset;
            listener->missed[listener->count++] = deliveries[i].missed;
            subscriber_advance(&deliveries[i]);
        }
    }
}

static void listener_fail(struct subscriber *subscriber, enum error_code error)
{
    container_of(subscriber, struct listener, subscriber)->error = error;
}

static const struct subscriber_ops listener_ops = {.wake = listener_wake, .fail = listener_fail};

static struct message *message_at(uint64_t offset)
{
    const struct message_parts parts = {.data = "x", .size = 1};
    struct message *message = message_new(&parts);
    message->offset = offset;
    message->expires_ms = UINT64_MAX / 2;
    return message;
}

static struct retention retain(const void *context, struct text name)
{
    (void)context;
    (void)name;
    return (struct retention){100, 1u << 20, 60000};
}

static int begin(void **state)
{
    const struct hub_settings settings = {.retain = retain, .linger_ms = 1000, .linger_most = 1000};
    (void)state;
    table_key_init();
    asked_count = 0;
    is_near = false;
    near_top = 3;
    near_error = ERROR_NONE;
    epoch = epoch_new("a", 1);
    timer_wheel_init(&wheel, 1000);
    hub_init(&hub, &fake, &mailbox, &wheel, &settings);
    hub.now_ms = 1000;
    return mailbox_init(&mailbox);
}

/* Answers the request at `index` as the broker would, through the mailbox. */
static void answer(unsigned index, enum error_code error)
{
    broker_answer(asked[index], error);
    mailbox_drain(&mailbox);
}

static int end(void **state)
{
    (void)state;
    hub_close(&hub);
    /* The detach is the last thing asked for, in the request that the attach was made with. */
    if (asked_count > 0)
        answer(asked_count - 1, ERROR_NONE);
    assert_true(hub_is_idle(&hub));
    mailbox_deinit(&mailbox);
    return 0;
}

static void join(struct listener *listener, const char *cursor)
{
    const struct text channel = {"a", 1};
    struct start start;
    *listener = (struct listener){0};
    assert_int_equal(start_parse(&start, cursor, strlen(cursor)), 0);
    assert_int_equal(
        subscriber_join(&listener->subscriber, &hub, &listener_ops, TRANSPORT_SSE, &channel, 1, &start), 0);
}

static void attach(uint64_t oldest, uint64_t top, uint64_t tail_from)
{
    struct attach_request *request = container_of(asked[0], struct attach_request, super);
    assert_int_equal(asked[0]->operation, BROKER_ATTACH);
    request->log.epoch = epoch;
    request->log.oldest = oldest;
    request->log.top = top;
    for (uint64_t offset = tail_from; offset <= top; offset++)
        ring_append(&request->tail, message_at(offset));
    answer(0, ERROR_NONE);
}

static void tell(struct channel *channel, const struct feed *what)
{
    struct attachment attachment = {&mailbox, channel};
    assert_int_equal(broker_feed(&(struct attachments){&attachment, 1}, what), 0);
}

static void feed(uint64_t offset)
{
    struct message *message = message_at(offset);
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    tell(channel, &(struct feed){.message = message});
    message_unref(message);
    mailbox_drain(&mailbox);
}

static void serve(void)
{
    while (hub_serve(&hub, 1000000))
        ;
}

static char *cursor_at(uint64_t offset)
{
    static char text[POSITION_TEXT_MAX + 1];
    text[position_format(text, &epoch, offset)] = '\0';
    return text;
}

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

/* The log gets another epoch, which the test's cursors are of from here on. */
static void feed_reset(enum reset_reason reason)
{
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    epoch = epoch_new("a", 1);
    tell(channel, &(struct feed){.reason = reason, .log = {.epoch = epoch, .top = 3, .oldest = 4}});
    mailbox_drain(&mailbox);
    serve();
}

/* The log goes on under another epoch, with what the old one had up to `shared`. */
static void feed_renewal(struct ancestry *ancestry, uint64_t shared, bool is_doubtful)
{
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    const struct forebear forebear = {epoch, is_doubtful, shared};
    ancestry_add(ancestry, &forebear);
    epoch = epoch_new("a", 1);
    tell(channel, &(struct feed){.log = {epoch, *ancestry, shared, 1}});
    mailbox_drain(&mailbox);
    serve();
}

/* Answers a question for where the log stands; what was asked for before it stays answered. */
static void answer_question(const struct ancestry *ancestry, uint64_t top)
{
    struct history_request *request = container_of(asked[asked_count - 1], struct history_request, super);
    assert_true(request->to < request->from);
    request->log.epoch = epoch;
    request->log.ancestry = *ancestry;
    request->log.oldest = 1;
    request->log.top = top;
    answer(--asked_count, ERROR_NONE);
    serve();
}

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

/* A message for each of `times`, from `offset` on. */
static void append_at(struct ring *ring, uint64_t offset, const int64_t *times, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct message *message = message_at(offset + i);
        message->time_ms = times[i];
        assert_int_equal(ring_append(ring, message), 0);
    }
}

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

/* Answers a page that has been asked for: its messages have `time_ms`, but the one at `older` an old one. */
static void answer_page(unsigned index, uint64_t from, uint64_t to, uint64_t older)
{
    struct history_request *history = container_of(asked[index], struct history_request, super);
    assert_int_equal(asked_count, index + 1);
    assert_int_equal(history->from, from);
    assert_int_equal(history->to, to);
    history->log.epoch = epoch;
    history->log.oldest = 1;
    history->log.top = 600;
    for (uint64_t offset = from; offset <= to; offset++)
        append_at(&history->messages, offset, (const int64_t[]){offset == older ? 1500 : 1501}, 1);
    answer(index, ERROR_NONE);
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

/* The window keeps 100; the log as much, by the time it is asked. */
static void test_a_slow_reader_that_falls_off_the_window_is_told_what_it_missed(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, "now");
    attach(1, 3, 1);
    subscriber_block(&listener.subscriber);
    for (uint64_t offset = 4; offset <= 200; offset++)
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
    assert_int_equal(listener.missed[0], 97);
    assert_int_equal(listener.offsets[1], 101);
    subscriber_leave(&listener.subscriber);
    timer_wheel_run(&wheel, 10000);
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

static void test_what_is_trimmed_while_a_page_is_read_is_not_asked_for(void **state)
{
    struct listener listener;
    (void)state;
    join(&listener, cursor_at(9));
    attach(1, 600, 598);
    struct history_request *request = container_of(asked[1], struct history_request, super);
    assert_int_equal(request->to, 255);
    request->log.epoch = epoch;
    request->log.top = 600;
    request->log.oldest = 400;
    answer(1, ERROR_NONE);
    serve();
    assert_int_equal(listener.resets[0], RESET_TRIMMED);
    answer_page(2, 400, 511, 0);
    serve();
    assert_int_equal(listener.offsets[listener.count - 1], 511);
    subscriber_leave(&listener.subscriber);
    answer_page(3, 512, 597, 0);
    timer_wheel_run(&wheel, 10000);
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
    TEST(test_a_near_broker_attaches_and_brings_pages_in_the_call),
    TEST(test_a_near_broker_that_refuses_is_told_to_who_joins),
    TEST(test_what_was_published_before_is_not_new_to_who_joins_now),
    TEST(test_one_attach_for_all_and_the_feed_follows_the_tail),
    TEST(test_a_failed_attach_fails_all_who_wait),
    TEST(test_a_broker_that_is_away_is_asked_again),
    TEST(test_nobody_is_asked_again_for_a_channel_that_was_left),
    TEST(test_a_gap_is_told_with_its_number),
    TEST(test_what_is_below_the_window_is_read_once_for_all),
    TEST(test_a_cursor_ahead_is_checked_with_the_broker),
    TEST(test_a_hole_in_the_feed_is_read_again_from_the_log),
    TEST(test_a_renewal_is_silent_for_who_has_seen_nothing_that_is_gone),
    TEST(test_who_has_seen_what_is_gone_is_told_how_many),
    TEST(test_two_losses_that_are_told_at_once_are_one),
    TEST(test_who_was_told_of_a_gap_and_nothing_since_is_not_told_again),
    TEST(test_the_broker_is_asked_about_an_epoch_that_is_not_known),
    TEST(test_the_answer_says_which_forebears_the_log_has),
    TEST(test_a_page_of_a_log_that_was_set_back_is_read_again),
    TEST(test_the_attach_says_which_forebears_a_log_has),
    TEST(test_after_a_purge_nothing_of_before_is_known),
    TEST(test_now_is_when_the_request_came),
    TEST(test_a_message_whose_clock_went_wrong_is_not_told_as_new),
    TEST(test_what_came_since_is_not_known_to_a_broker_without_a_clock),
    TEST(test_the_last_are_counted_from_the_request),
    TEST(test_who_joins_an_attached_channel_starts_at_its_end),
    TEST(test_what_came_since_is_looked_for_below_the_tail),
    TEST(test_who_may_have_missed_some_before_the_attach_is_told),
    TEST(test_a_page_that_ended_early_is_followed_by_the_next),
    TEST(test_a_channel_that_could_not_be_joined_is_detached),
    TEST(test_a_page_that_could_not_be_read_is_asked_for_again),
    TEST(test_a_page_of_another_log_is_asked_for_again),
    TEST(test_a_slow_reader_that_falls_off_the_window_is_told_what_it_missed),
    TEST(test_a_hole_in_a_page_is_told),
    TEST(test_a_reset_goes_on_from_the_oldest_message_kept),
    TEST(test_a_blocked_subscriber_is_told_of_a_reset_later),
    TEST(test_a_message_that_comes_twice_makes_no_hole),
    TEST(test_a_message_without_memory_for_it_is_read_from_the_log),
    TEST(test_what_is_trimmed_while_a_page_is_read_is_not_asked_for),
    TEST(test_retreating_tells_the_same_reset_again),
    TEST(test_more_than_there_is_of_the_last_is_all),
    TEST(test_a_cursor_one_ahead_of_the_log_is_told_so),
    TEST(test_a_blocked_subscriber_is_left_alone_until_unblocked),
    TEST(test_retreating_tells_the_same_again),
    TEST(test_a_channel_lingers_and_is_then_detached),
    TEST(test_of_too_many_channels_that_linger_those_left_longest_ago_go),
};
UNIT_MAIN(tests)
