/* SPDX-License-Identifier: MIT */
/* Long-poll: one request, one answer. Raw (the next message as published) or JSON (everything there is, in a
 * batch). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "http/body.h"
#include "http/exchange.h"
#include "http/transport.h"
#include "render/render.h"
#include "transport/transports.h"

/* A batch has at most this much, or one message; the client comes back for the rest at once. */
#define BATCH_BYTES (1u << 20)
#define BATCH_STEP 64u
/* The header that names resets ends before this, so that it fits into a connection's memory; the cursor tells
 * of the others. */
#define RESETS_TEXT_MAX 2048u
#define RESET_TEXT_MAX (CHANNEL_NAME_MAX + 64u)
/* Who does not want to wait, or hardly, gets to know after this that the broker is away. */
#define LONGPOLL_LOOK_MS 2000u

struct longpoll {
    struct subscriber subscriber;
    struct garbage garbage;
    struct exchange *exchange;
    bool is_json;
    uint64_t until_ms; /* the end of its wait, on the shard's clock */
    bool is_attached;
};

static void longpoll_free(struct garbage *garbage)
{
    free(container_of(garbage, struct longpoll, garbage));
}

static void longpoll_gone(struct exchange *exchange)
{
    struct longpoll *poll = exchange->holder;
    subscriber_leave(&poll->subscriber);
    shard_reap(exchange->shard, &poll->garbage, longpoll_free);
}

/* Every answer names the place to go on from. */
static void longpoll_add_cursor(const struct longpoll *poll, struct MHD_Response *response)
{
    char tag[CURSOR_TEXT_MAX + 3];
    if (poll->is_attached) {
        size_t len = subscriber_cursor(&poll->subscriber, tag + 1);
        tag[0] = '"';
        tag[len + 1] = '"';
        tag[len + 2] = '\0';
        exchange_response_header(response, MHD_HTTP_HEADER_ETAG, tag);
    }
    exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static void longpoll_answer(struct longpoll *poll, unsigned status, struct MHD_Response *response)
{
    if (response)
        longpoll_add_cursor(poll, response);
    exchange_answer(poll->exchange, status, response);
}

static void longpoll_answer_nothing(struct longpoll *poll)
{
    longpoll_answer(poll, MHD_HTTP_NO_CONTENT, exchange_response("", 0, NULL, false));
}

/* Raw. */

/* An item of a structured list (RFC 8941): no name has anything in it that a quoted string escapes. */
static size_t longpoll_note_reset(char *text, size_t len, const struct delivery *delivery)
{
    struct text name = subscription_channel(delivery->subscription);
    len += (size_t)sprintf(text + len, "%s%s", len > 0 ? ", " : "", reset_reason_word(delivery->reset));
    if (delivery->missed != MISSED_UNKNOWN)
        len += (size_t)sprintf(text + len, "; %s=%llu", reset_number_word(delivery->reset),
                               (unsigned long long)delivery->missed);
    return len + (size_t)sprintf(text + len, "; channel=\"%.*s\"", (int)name.len, name.bytes);
}

static void longpoll_add_text(struct MHD_Response *response, const char *name, struct text text)
{
    char value[MESSAGE_ATTRIBUTE_MAX + 1];
    memcpy(value, text.bytes, text.len);
    value[text.len] = '\0';
    exchange_response_header(response, name, value);
}

static void longpoll_add_meta(struct MHD_Response *response, const struct delivery *delivery)
{
    const struct message *message = delivery->message;
    char text[MESSAGE_ATTRIBUTE_MAX + 1];
    longpoll_add_text(response, "Sluice-Channel", subscription_channel(delivery->subscription));
    size_t len = position_format(text, subscription_epoch(delivery->subscription), message->offset);
    text[len] = '\0';
    exchange_response_header(response, "Sluice-Id", text);
    snprintf(text, sizeof(text), "%lld", (long long)message->time_ms);
    exchange_response_header(response, "Sluice-Time", text);
    if (message->event_len > 0)
        longpoll_add_text(response, "Sluice-Event",
                          (struct text){message_event(message), message->event_len});
    if (message->producer_len > 0)
        longpoll_add_text(response, "Sluice-Producer",
                          (struct text){message_producer(message), message->producer_len});
}

/* A message may say that it is HTML: nothing in it is to run as a page of ours. */
static struct MHD_Response *longpoll_message(const struct delivery *delivery)
{
    char mime[MESSAGE_ATTRIBUTE_MAX + 1];
    message_mime(delivery->message, mime);
    struct MHD_Response *response = body_response_of_message(delivery->message, mime);
    if (!response)
        return NULL;
    exchange_response_header(response, "Content-Security-Policy", "sandbox; default-src 'none'");
    longpoll_add_meta(response, delivery);
    return response;
}

static void longpoll_release_shared(void *value)
{
    shared_answer_unref(value);
}

/* Most polls of a channel wait for the same message and have read all before it: they get one and the same
 * answer. */
static bool longpoll_answer_shared(struct longpoll *poll, const struct delivery *delivery)
{
    struct channel_memo *memo = subscription_memo(delivery->subscription);
    if (poll->subscriber.count > 1 || !exchange_can_share(poll->exchange))
        return false;
    if (memo->release != longpoll_release_shared || memo->offset != delivery->message->offset) {
        struct MHD_Response *response = longpoll_message(delivery);
        if (response)
            longpoll_add_cursor(poll, response);
        struct shared_answer *answer = exchange_share(MHD_HTTP_OK, response);
        if (!answer)
            return false;
        channel_memo_clear(memo);
        *memo = (struct channel_memo){
            .offset = delivery->message->offset, .value = answer, .release = longpoll_release_shared};
    }
    shard_count(poll->exchange->shard, METRIC_DELIVERIES, 1);
    exchange_answer_shared(poll->exchange, memo->value);
    return true;
}

/* Returns whether there was something to tell: a message, or at least a reset. */
static bool longpoll_tell_raw(struct longpoll *poll)
{
    char resets[RESETS_TEXT_MAX] = "";
    size_t resets_len = 0;
    struct delivery delivery = {0};
    while (resets_len + RESET_TEXT_MAX < RESETS_TEXT_MAX &&
           subscriber_read(&poll->subscriber, &delivery, 1) == 1) {
        subscriber_advance(&delivery);
        if (delivery.message)
            break;
        resets_len = longpoll_note_reset(resets, resets_len, &delivery);
    }
    if (!delivery.message && !resets[0])
        return false;
    if (!resets[0] && longpoll_answer_shared(poll, &delivery))
        return true;
    struct MHD_Response *response =
        delivery.message ? longpoll_message(&delivery) : exchange_response("", 0, NULL, false);
    if (response && resets[0])
        exchange_response_header(response, "Sluice-Reset", resets);
    if (delivery.message)
        shard_count(poll->exchange->shard, METRIC_DELIVERIES, 1);
    longpoll_answer(poll, delivery.message ? MHD_HTTP_OK : MHD_HTTP_NO_CONTENT, response);
    return true;
}

/* JSON. */

static void longpoll_append_reset(struct longpoll *poll, struct buf *resets, const struct delivery *delivery)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = subscriber_cursor(&poll->subscriber, cursor);
    buf_append_text(resets, resets->len > 0 ? "," : "");
    render_reset(resets, subscription_channel(delivery->subscription), delivery->reset, delivery->missed,
                 (struct text){cursor, len});
}

/* Returns false when the page is full. */
static bool longpoll_append_message(struct body *page, const struct delivery *delivery, bool is_first)
{
    const struct rendering *rendering =
        message_form(delivery->message, FORM_JSON, subscription_channel(delivery->subscription),
                     subscription_epoch(delivery->subscription), render_json);
    if (!rendering) {
        page->has_failed = true;
        return false;
    }
    /* Without the line's end. */
    size_t size = rendering->payload_end - rendering->shared - 1;
    if (!is_first && page->size + size > BATCH_BYTES)
        return false;
    body_add_text(page, is_first ? "{" : ",{", is_first ? 1 : 2);
    body_add_slice(page, delivery->message, rendering->bytes + rendering->shared, size);
    return true;
}

struct page_count {
    size_t messages;
    size_t resets;
};

static struct page_count longpoll_fill_page(struct longpoll *poll, struct body *page, struct buf *resets)
{
    struct delivery deliveries[BATCH_STEP];
    struct page_count told = {0};
    size_t count;
    while ((count = subscriber_read(&poll->subscriber, deliveries, BATCH_STEP)) > 0) {
        for (size_t i = 0; i < count; i++) {
            bool is_message = deliveries[i].message;
            if (is_message && !longpoll_append_message(page, &deliveries[i], told.messages == 0))
                return told;
            subscriber_advance(&deliveries[i]);
            if (is_message)
                told.messages++;
            else
                longpoll_append_reset(poll, resets, &deliveries[i]);
            told.resets += !is_message;
        }
    }
    return told;
}

static void longpoll_close_page(const struct longpoll *poll, struct body *page, const struct buf *resets)
{
    char cursor[CURSOR_TEXT_MAX];
    struct buf end = {0};
    buf_append_text(&end, "],\"cursor\":\"");
    buf_append(&end, cursor, subscriber_cursor(&poll->subscriber, cursor));
    buf_append_char(&end, '"');
    if (resets->len > 0) {
        buf_append_text(&end, ",\"reset\":[");
        buf_append(&end, resets->bytes, resets->len);
        buf_append_char(&end, ']');
    }
    buf_append_text(&end, "}\n");
    page->has_failed = page->has_failed || end.has_failed || resets->has_failed;
    body_add_text(page, end.bytes, end.len);
    buf_deinit(&end);
}

static void longpoll_release_page(void *value)
{
    shared_answer_unref(value);
}

/* Most polls of a channel have read the same: a small page is put together once for all of them. */
static bool longpoll_answer_page_again(struct longpoll *poll)
{
    const struct subscription *subscription = &poll->subscriber.subscriptions[0];
    const struct channel_memo *memo = subscription_memo(subscription);
    if (poll->subscriber.count > 1 || !exchange_can_share(poll->exchange) ||
        memo->release != longpoll_release_page || memo->from != subscription->offset ||
        subscription->state != SUBSCRIPTION_LIVE || subscription->reset != RESET_NONE)
        return false;
    shard_count(poll->exchange->shard, METRIC_DELIVERIES, memo->count);
    exchange_answer_shared(poll->exchange, memo->value);
    return true;
}

static void longpoll_answer_page(struct longpoll *poll, struct body *page, uint64_t from,
                                 struct page_count told)
{
    const struct subscription *subscription = &poll->subscriber.subscriptions[0];
    bool is_shared = poll->subscriber.count == 1 && told.resets == 0 && page->size <= BODY_SMALL_BYTES &&
                     exchange_can_share(poll->exchange);
    struct MHD_Response *response = body_response(page, "application/json");
    shard_count(poll->exchange->shard, METRIC_DELIVERIES, told.messages + told.resets);
    if (!is_shared || !response) {
        longpoll_answer(poll, MHD_HTTP_OK, response);
        return;
    }
    longpoll_add_cursor(poll, response);
    struct shared_answer *answer = exchange_share(MHD_HTTP_OK, response);
    if (!answer) {
        exchange_answer(poll->exchange, MHD_HTTP_OK, NULL);
        return;
    }
    struct channel_memo *memo = subscription_memo(subscription);
    channel_memo_clear(memo);
    *memo = (struct channel_memo){from, subscription->offset, told.messages, answer, longpoll_release_page};
    exchange_answer_shared(poll->exchange, answer);
}

static bool longpoll_tell_json(struct longpoll *poll)
{
    struct body page = {0};
    struct buf resets = {0};
    uint64_t from = poll->subscriber.subscriptions[0].offset;
    if (longpoll_answer_page_again(poll))
        return true;
    body_add_text(&page, "{\"messages\":[", strlen("{\"messages\":["));
    struct page_count told = longpoll_fill_page(poll, &page, &resets);
    bool has_any = told.messages + told.resets > 0 || page.has_failed;
    if (has_any) {
        longpoll_close_page(poll, &page, &resets);
        longpoll_answer_page(poll, &page, from, told);
    }
    body_deinit(&page);
    buf_deinit(&resets);
    return has_any;
}

static bool longpoll_tell(struct longpoll *poll)
{
    return poll->is_json ? longpoll_tell_json(poll) : longpoll_tell_raw(poll);
}

/* The subscriber. */

static void longpoll_wake(struct subscriber *subscriber, bool is_first)
{
    struct longpoll *poll = container_of(subscriber, struct longpoll, subscriber);
    struct exchange *exchange = poll->exchange;
    uint64_t now_ms = exchange->shard->now_ms;
    if (is_first)
        poll->is_attached = true;
    if (longpoll_tell(poll) || subscriber_is_fetching(subscriber))
        return;
    if (now_ms >= poll->until_ms || exchange_is_draining(exchange))
        longpoll_answer_nothing(poll);
    else if (exchange_settle(exchange))
        exchange_set_deadline(exchange, poll->until_ms - now_ms);
}

static void longpoll_fail(struct subscriber *subscriber, enum error_code error)
{
    struct longpoll *poll = container_of(subscriber, struct longpoll, subscriber);
    exchange_fail(poll->exchange, error, "%s", error_text(error));
}

static const struct subscriber_ops longpoll_subscriber_ops = {.wake = longpoll_wake, .fail = longpoll_fail};

/* What has come in this turn of the loop is told at the last moment. Without its channels there is nothing to
 * say, not even where to go on from. */
static void longpoll_expire(struct exchange *exchange)
{
    struct longpoll *poll = exchange->holder;
    enum error_code error = exchange_is_draining(exchange) ? ERROR_STOPPING : ERROR_BROKER_DOWN;
    if (poll->is_attached && longpoll_tell(poll))
        return;
    if (poll->is_attached)
        longpoll_answer_nothing(poll);
    else
        exchange_fail(exchange, error, "%s", error_text(error));
}

static const struct hold_ops longpoll_hold_ops = {
    .gone = longpoll_gone,
    .expire = longpoll_expire,
    .drain = longpoll_expire,
    .is_finite = true,
};

static void longpoll_begin(struct exchange *exchange, const struct subscription_wish *wish, bool is_json)
{
    struct longpoll *poll = malloc(sizeof(*poll));
    if (!poll) {
        exchange_answer(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    *poll = (struct longpoll){
        .exchange = exchange,
        .subscriber.ahead = exchange,
        .is_json = is_json,
        .until_ms = exchange->shard->now_ms + wish->wait_ms,
    };
    exchange_hold(exchange, &longpoll_hold_ops, poll);
    exchange_set_deadline(exchange, number_greater(wish->wait_ms, LONGPOLL_LOOK_MS));
    enum error_code error =
        subscriber_join(&poll->subscriber, &exchange->shard->hub, &longpoll_subscriber_ops, TRANSPORT_POLL,
                        wish->channels, wish->count, &wish->start);
    if (error != ERROR_NONE) {
        exchange_fail(exchange, error, "%s", error_text(error));
        return;
    }
    if (exchange->state != EXCHANGE_HANDLING)
        return;
    exchange_suspend(exchange);
}

static void longpoll_begin_raw(struct exchange *exchange, const struct subscription_wish *wish)
{
    longpoll_begin(exchange, wish, false);
}

static void longpoll_begin_json(struct exchange *exchange, const struct subscription_wish *wish)
{
    longpoll_begin(exchange, wish, true);
}

const struct transport longpoll_raw_transport = {
    .words = {"poll"},
    .begin = longpoll_begin_raw,
};

const struct transport longpoll_json_transport = {
    .words = {"json"},
    .types = {"application/json"},
    .begin = longpoll_begin_json,
};
