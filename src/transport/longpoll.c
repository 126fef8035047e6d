/* SPDX-License-Identifier: MIT */
/* Long-poll: one request, one answer. Raw (the next message as published), JSON (everything there is, in a
 * batch), or that batch as a script that calls a function (JSONP). */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "http/body.h"
#include "http/exchange.h"
#include "http/transport.h"
#include "render/render.h"
#include "render/script.h"
#include "transport/transports.h"

/* A batch has at most this much, or one message; the client comes back for the rest at once. */
#define BATCH_BYTES (1u << 20)
#define BATCH_STEP 64u
/* The header that names resets ends before this, so that it fits into a connection's memory; the cursor tells
 * of the others. */
#define RESETS_TEXT_MAX 2048u
#define RESET_TEXT_MAX (CHANNEL_NAME_MAX + 64u)
/* A comment before the name: nobody else can choose how the script begins, which would be a program to some
 * plug-ins. */
#define LONGPOLL_CALL "/**/"
#define LONGPOLL_CALL_END ");\n"
/* Who does not want to wait, or hardly, gets to know after this that the broker is away. */
#define LONGPOLL_LOOK_MS 2000u

enum longpoll_form {
    LONGPOLL_RAW,
    LONGPOLL_JSON,
    LONGPOLL_JSONP,
};

struct longpoll {
    struct subscriber subscriber;
    struct garbage garbage;
    struct exchange *exchange;
    enum longpoll_form form;
    bool is_attached;
    uint64_t mark;     /* tells an answer with transient messages from others; 0 when there is none */
    uint64_t until_ms; /* the end of its wait, on the shard's clock */
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

/* The cursor stays where it was behind transient messages, and an answer with others of them is another one.
 * Their time tells answers of different processes apart, and a count those of one. */
static void longpoll_note_message(struct longpoll *poll, const struct delivery *delivery)
{
    static _Atomic uint32_t count;
    if (delivery->message->is_transient)
        poll->mark = (uint64_t)delivery->message->time_ms * 1000 + atomic_fetch_add(&count, 1) % 1000;
}

/* Every answer names the place to go on from. */
static void longpoll_add_cursor(const struct longpoll *poll, struct MHD_Response *response)
{
    char tag[CURSOR_TEXT_MAX + CURSOR_MARK_MAX + 3];
    if (poll->is_attached) {
        size_t len = 1 + subscriber_cursor(&poll->subscriber, tag + 1);
        tag[0] = '"';
        if (poll->mark > 0) {
            tag[len++] = CURSOR_MARK;
            len += number_format_u64(tag + len, poll->mark);
        }
        tag[len] = '"';
        tag[len + 1] = '\0';
        exchange_response_header(response, MHD_HTTP_HEADER_ETAG, tag);
    }
    exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static void longpoll_answer(struct longpoll *poll, unsigned status, struct MHD_Response *response)
{
    if (response)
        longpoll_add_cursor(poll, response);
    if (response && exchange_is_draining(poll->exchange))
        exchange_add_comeback(poll->exchange, response);
    exchange_answer(poll->exchange, status, response);
}

/* Raw. */

static void longpoll_add_field(void *response, const char *name, const char *value)
{
    exchange_response_header(response, name, value);
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
    render_fields(delivery->message, subscription_channel(delivery->subscription),
                  subscription_epoch(delivery->subscription), longpoll_add_field, response);
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
    const struct message *message = delivery->message;
    uint32_t serial = message->is_transient ? delivery->subscription->serial : 0;
    if (subscriber_is_joined(&poll->subscriber) || !exchange_can_share(poll->exchange))
        return false;
    if (memo->release != longpoll_release_shared || memo->offset != message->offset ||
        memo->serial != serial) {
        struct MHD_Response *response = longpoll_message(delivery);
        if (response)
            longpoll_add_cursor(poll, response);
        struct shared_answer *answer = exchange_share(MHD_HTTP_OK, response);
        if (!answer)
            return false;
        channel_memo_clear(memo);
        *memo = (struct channel_memo){
            .offset = message->offset, .serial = serial, .value = answer, .release = longpoll_release_shared};
    }
    shard_count(poll->exchange->shard, METRIC_DELIVERIES, 1);
    exchange_answer_shared(poll->exchange, memo->value);
    return true;
}

/* The next message, and what resets stand before it. */
static void longpoll_read_raw(struct longpoll *poll, struct delivery *delivery, struct buf *resets)
{
    while (resets->len + RESET_TEXT_MAX < RESETS_TEXT_MAX &&
           subscriber_read(&poll->subscriber, delivery, 1) == 1) {
        subscriber_advance(delivery);
        if (delivery->message) {
            longpoll_note_message(poll, delivery);
            return;
        }
        buf_append_text(resets, resets->len > 0 ? ", " : "");
        render_reset_item(resets, subscription_channel(delivery->subscription), delivery->reset,
                          delivery->missed);
    }
}

/* Returns whether there was something to tell: a message, or at least a reset. */
static bool longpoll_tell_raw(struct longpoll *poll)
{
    struct buf resets = {0};
    struct delivery delivery = {0};
    longpoll_read_raw(poll, &delivery, &resets);
    bool has_reset = resets.len > 0 || resets.has_failed;
    if (!delivery.message && !has_reset)
        return false;
    if (!has_reset && longpoll_answer_shared(poll, &delivery))
        return true;
    buf_append(&resets, "", 1);
    struct MHD_Response *response = resets.has_failed  ? NULL
                                    : delivery.message ? longpoll_message(&delivery)
                                                       : exchange_response("", 0, NULL, false);
    if (response && has_reset)
        exchange_response_header(response, "Sluice-Reset", resets.bytes);
    if (delivery.message)
        shard_count(poll->exchange->shard, METRIC_DELIVERIES, 1);
    longpoll_answer(poll, delivery.message ? MHD_HTTP_OK : MHD_HTTP_NO_CONTENT, response);
    buf_deinit(&resets);
    return true;
}

/* JSON, and JSON as a script. */

static void longpoll_append_reset(struct longpoll *poll, struct buf *resets, const struct delivery *delivery)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = subscriber_cursor(&poll->subscriber, cursor);
    buf_append_text(resets, resets->len > 0 ? "," : "");
    render_reset(resets, subscription_channel(delivery->subscription), delivery->reset, delivery->missed,
                 (struct text){cursor, len});
}

/* The members of a message's object and the brace behind them; its bytes are NULL when memory is out. */
static struct text longpoll_render_members(const struct longpoll *poll, const struct delivery *delivery)
{
    bool is_json = poll->form == LONGPOLL_JSON;
    const struct rendering *rendering = message_form(
        delivery->message, is_json ? FORM_JSON : FORM_HTMLFILE, subscription_channel(delivery->subscription),
        subscription_epoch(delivery->subscription), is_json ? render_json : render_htmlfile);
    if (!rendering)
        return (struct text){0};
    size_t end_len = is_json ? strlen("\n") : strlen(RENDER_HTMLFILE_END);
    return (struct text){rendering->bytes + rendering->shared,
                         rendering->payload_end - rendering->shared - end_len};
}

/* Returns false when the page is full. */
static bool longpoll_append_message(const struct longpoll *poll, struct body *page,
                                    const struct delivery *delivery, bool is_first)
{
    struct text members = longpoll_render_members(poll, delivery);
    if (!members.bytes) {
        page->has_failed = true;
        return false;
    }
    if (!is_first && page->size + members.len > BATCH_BYTES)
        return false;
    body_add_text(page, is_first ? "{" : ",{", is_first ? 1 : 2);
    body_add_slice(page, delivery->message, members.bytes, members.len);
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
            if (is_message && !longpoll_append_message(poll, page, &deliveries[i], told.messages == 0))
                return told;
            subscriber_advance(&deliveries[i]);
            if (is_message)
                longpoll_note_message(poll, &deliveries[i]);
            else
                longpoll_append_reset(poll, resets, &deliveries[i]);
            told.messages += is_message;
            told.resets += !is_message;
        }
    }
    return told;
}

static void longpoll_open_page(const struct longpoll *poll, struct body *page)
{
    if (poll->form == LONGPOLL_JSONP) {
        struct text callback = exchange_query(poll->exchange, "callback");
        body_add_text(page, LONGPOLL_CALL, strlen(LONGPOLL_CALL));
        body_add_text(page, callback.bytes, callback.len);
        body_add_text(page, "(", 1);
    }
    body_add_text(page, "{\"messages\":[", strlen("{\"messages\":["));
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
    buf_append_text(&end, poll->form == LONGPOLL_JSONP ? "}" LONGPOLL_CALL_END : "}\n");
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
    if (poll->form != LONGPOLL_JSON || subscriber_is_joined(&poll->subscriber) ||
        !exchange_can_share(poll->exchange) || memo->release != longpoll_release_page ||
        memo->from != subscription->offset || memo->serial != subscription->serial ||
        memo->is_newest != subscription->is_newest || subscription->state != SUBSCRIPTION_LIVE ||
        subscription->reset != RESET_NONE)
        return false;
    shard_count(poll->exchange->shard, METRIC_DELIVERIES, memo->count);
    exchange_answer_shared(poll->exchange, memo->value);
    return true;
}

static void longpoll_answer_page(struct longpoll *poll, struct body *page, const struct subscription *from,
                                 struct page_count told)
{
    const struct subscription *subscription = &poll->subscriber.subscriptions[0];
    bool is_shared = poll->form == LONGPOLL_JSON && !subscriber_is_joined(&poll->subscriber) &&
                     told.resets == 0 && page->size <= BODY_SMALL_BYTES && exchange_can_share(poll->exchange);
    struct MHD_Response *response = body_response(
        page, poll->form == LONGPOLL_JSONP ? longpoll_jsonp_transport.content_type : "application/json");
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
    *memo = (struct channel_memo){.from = from->offset,
                                  .offset = subscription->offset,
                                  .serial = from->serial,
                                  .count = told.messages,
                                  .is_newest = subscription->is_newest,
                                  .value = answer,
                                  .release = longpoll_release_page};
    exchange_answer_shared(poll->exchange, answer);
}

static bool longpoll_tell_json(struct longpoll *poll)
{
    struct body page = {0};
    struct buf resets = {0};
    const struct subscription from = poll->subscriber.subscriptions[0];
    if (longpoll_answer_page_again(poll))
        return true;
    longpoll_open_page(poll, &page);
    struct page_count told = longpoll_fill_page(poll, &page, &resets);
    bool has_any = told.messages + told.resets > 0 || page.has_failed;
    if (has_any) {
        longpoll_close_page(poll, &page, &resets);
        longpoll_answer_page(poll, &page, &from, told);
    }
    body_deinit(&page);
    buf_deinit(&resets);
    return has_any;
}

static bool longpoll_tell(struct longpoll *poll)
{
    return poll->form == LONGPOLL_RAW ? longpoll_tell_raw(poll) : longpoll_tell_json(poll);
}

/* A script without anything in it would call nobody. */
static void longpoll_answer_nothing(struct longpoll *poll)
{
    const struct buf no_resets = {0};
    struct body page = {0};
    if (poll->form != LONGPOLL_JSONP) {
        longpoll_answer(poll, MHD_HTTP_NO_CONTENT, exchange_response("", 0, NULL, false));
        return;
    }
    longpoll_open_page(poll, &page);
    longpoll_close_page(poll, &page, &no_resets);
    longpoll_answer(poll, MHD_HTTP_OK, body_response(&page, longpoll_jsonp_transport.content_type));
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

static enum error_code longpoll_admits(struct subscriber *subscriber, struct text channel)
{
    const struct exchange *exchange = container_of(subscriber, struct longpoll, subscriber)->exchange;
    return bearer_admits(&exchange->bearer, exchange->shard, subscriber, channel);
}

static const struct subscriber_ops longpoll_subscriber_ops = {
    .wake = longpoll_wake, .fail = longpoll_fail, .admits = longpoll_admits};

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

static void longpoll_let_go(struct exchange *exchange, enum error_code why)
{
    if (why == ERROR_STOPPING)
        longpoll_expire(exchange);
    else
        exchange_fail(exchange, why, "%s", error_text(why));
}

static const struct hold_ops longpoll_hold_ops = {
    .gone = longpoll_gone,
    .expire = longpoll_expire,
    .let_go = longpoll_let_go,
    .is_finite = true,
};

static void longpoll_begin(struct exchange *exchange, const struct subscription_wish *wish,
                           enum longpoll_form form)
{
    /* What is published now is known to the other process only: its cursors too. */
    if (exchange_is_draining(exchange) && exchange->shard->group->is_succeeded) {
        exchange_fail(exchange, ERROR_STOPPING, "%s", error_text(ERROR_STOPPING));
        return;
    }
    struct longpoll *poll = malloc(sizeof(*poll));
    if (!poll) {
        exchange_answer(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    *poll = (struct longpoll){
        .exchange = exchange,
        .subscriber.ahead = exchange,
        .subscriber.policy = (uint8_t)wish->policy,
        .subscriber.is_brief = true,
        .subscriber.persona = persona_ref(wish->persona),
        .form = form,
        .until_ms = exchange->shard->now_ms + wish->wait_ms,
    };
    exchange_hold(exchange, &longpoll_hold_ops, poll);
    exchange_bear(exchange);
    exchange_set_deadline(exchange, number_greater(wish->wait_ms, LONGPOLL_LOOK_MS));
    enum error_code error =
        subscriber_join(&poll->subscriber, &exchange->shard->hub, &longpoll_subscriber_ops,
                        form == LONGPOLL_JSONP ? TRANSPORT_LEGACY : TRANSPORT_POLL, wish->channels,
                        wish->count, &wish->start);
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
    longpoll_begin(exchange, wish, LONGPOLL_RAW);
}

static void longpoll_begin_json(struct exchange *exchange, const struct subscription_wish *wish)
{
    longpoll_begin(exchange, wish, LONGPOLL_JSON);
}

static void longpoll_begin_jsonp(struct exchange *exchange, const struct subscription_wish *wish)
{
    longpoll_begin(exchange, wish, LONGPOLL_JSONP);
}

static void longpoll_call(struct buf *to, struct text callback, struct text json)
{
    buf_append_text(to, LONGPOLL_CALL);
    buf_append(to, callback.bytes, callback.len);
    buf_append_char(to, '(');
    script_append(to, json.bytes, json.len);
    buf_append_text(to, LONGPOLL_CALL_END);
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

const struct transport longpoll_jsonp_transport = {
    .words = {"jsonp"},
    .content_type = "text/javascript; charset=utf-8",
    .call = longpoll_call,
    .begin = longpoll_begin_jsonp,
};
