/* SPDX-License-Identifier: MIT */
#pragma once

/* A hub with a broker of the test's own: what it is asked is answered by the test. */

#include <stdlib.h>
#include <string.h>

#include "core/channel.h"
#include "core/hub.h"

static struct broker_request *asked[128];
static unsigned asked_count;
static struct mailbox mailbox;
static struct timer_wheel wheel;
static struct hub hub;
static struct epoch epoch;

/* An engine that answers in the call: its log has the messages 1 to near_top, the last one in the tail. */
static bool is_near;
static uint64_t near_top;
static enum error_code near_error;

static inline struct message *message_at(uint64_t offset);

static inline void near_answer(struct broker_request *request)
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

static inline bool fake_submit(struct broker *broker, struct broker_request *request)
{
    (void)broker;
    if (is_near && request->operation != BROKER_DETACH) {
        near_answer(request);
        return true;
    }
    assert_true(asked_count < ARRAY_LENGTH(asked));
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

static inline void listener_wake(struct subscriber *subscriber, bool is_first)
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

static inline void listener_fail(struct subscriber *subscriber, enum error_code error)
{
    container_of(subscriber, struct listener, subscriber)->error = error;
}

static const struct subscriber_ops listener_ops = {.wake = listener_wake, .fail = listener_fail};

static inline struct message *message_at(uint64_t offset)
{
    const struct message_parts parts = {.data = "x", .size = 1};
    struct message *message = message_new(&parts);
    message->offset = offset;
    message->expires_ms = UINT64_MAX / 2;
    return message;
}

static inline struct channel_terms find_terms(const void *context, struct text name)
{
    (void)context;
    (void)name;
    return (struct channel_terms){.kept = {100, 1u << 20, 60000}};
}

static inline int begin(void **state)
{
    const struct hub_settings settings = {.find_terms = find_terms, .linger_ms = 1000, .linger_most = 1000};
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
static inline void answer(unsigned index, enum error_code error)
{
    broker_answer(asked[index], error);
    mailbox_drain(&mailbox);
}

static inline int end(void **state)
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

static inline void join(struct listener *listener, const char *cursor)
{
    const struct text channel = {"a", 1};
    struct start start;
    *listener = (struct listener){0};
    assert_int_equal(start_parse(&start, cursor, strlen(cursor)), 0);
    assert_int_equal(
        subscriber_join(&listener->subscriber, &hub, &listener_ops, TRANSPORT_SSE, &channel, 1, &start), 0);
}

static inline void attach(uint64_t oldest, uint64_t top, uint64_t tail_from)
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

static inline void tell(struct channel *channel, const struct feed *what)
{
    struct attachment attachment = {&mailbox, channel};
    assert_int_equal(broker_feed(&(struct attachments){&attachment, 1}, what), 0);
}

static inline void feed(uint64_t offset)
{
    struct message *message = message_at(offset);
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    tell(channel, &(struct feed){.message = message});
    message_unref(message);
    mailbox_drain(&mailbox);
}

static inline void serve(void)
{
    while (hub_serve(&hub, 1000000))
        ;
}

static inline char *cursor_at(uint64_t offset)
{
    static char text[POSITION_TEXT_MAX + 1];
    text[position_format(text, &epoch, offset)] = '\0';
    return text;
}
/* The log gets another epoch, which the test's cursors are of from here on. */
static inline void feed_reset(enum reset_reason reason)
{
    struct channel *channel = container_of(asked[0], struct attach_request, super)->channel;
    epoch = epoch_new("a", 1);
    tell(channel, &(struct feed){.reason = reason, .log = {.epoch = epoch, .top = 3, .oldest = 4}});
    mailbox_drain(&mailbox);
    serve();
}

/* The log goes on under another epoch, with what the old one had up to `shared`. */
static inline void feed_renewal(struct ancestry *ancestry, uint64_t shared, bool is_doubtful)
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
static inline void answer_question(const struct ancestry *ancestry, uint64_t top)
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

/* A message for each of `times`, from `offset` on. */
static inline void append_at(struct ring *ring, uint64_t offset, const int64_t *times, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct message *message = message_at(offset + i);
        message->time_ms = times[i];
        assert_int_equal(ring_append(ring, message), 0);
    }
}

/* Answers a page that has been asked for: its messages have `time_ms`, but the one at `older` an old one. */
static inline void answer_page(unsigned index, uint64_t from, uint64_t to, uint64_t older)
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
