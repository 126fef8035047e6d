/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/send.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "transport/sockjs/messages.h"
#include "transport/sockjs/receiver.h"
#include "transport/sockjs/reply.h"

#define FORM_TYPE "application/x-www-form-urlencoded"

struct sending {
    struct list link; /* in the session, while it waits */
    struct exchange *exchange;
    struct session *session;
    enum carrier carrier;
    struct messages messages;
    struct garbage garbage;
};

static void sending_free(struct garbage *garbage)
{
    struct sending *sending = container_of(garbage, struct sending, garbage);
    messages_deinit(&sending->messages);
    free(sending);
}

static void sending_gone(struct exchange *exchange)
{
    struct sending *sending = exchange->holder;
    list_remove(&sending->link);
    shard_reap(exchange->shard, &sending->garbage, sending_free);
}

static void sending_fail(struct exchange *exchange, enum error_code error)
{
    exchange_fail(exchange, error, "%s", error_text(error));
}

/* Who is let go while he waits is told so: not all of his messages have been taken. */
static const struct hold_ops sending_hold_ops = {
    .gone = sending_gone, .let_go = sending_fail, .is_finite = true};

/* A session that has ended with the server may be begun anew at another. */
static void sending_answer_gone(struct exchange *exchange)
{
    sending_fail(exchange, exchange_is_draining(exchange) ? ERROR_STOPPING : ERROR_NO_SESSION);
}

static void sending_answer(const struct sending *sending)
{
    struct exchange *exchange = sending->exchange;
    bool is_jsonp = sending->carrier == CARRIER_JSONP_SEND;
    struct MHD_Response *response =
        exchange_response(is_jsonp ? "ok" : "", is_jsonp ? 2 : 0, REPLY_TEXT, false);
    reply_add_not_cached(response);
    reply_add_cookie(exchange, sending->session->service, response);
    exchange_answer(exchange, is_jsonp ? MHD_HTTP_OK : MHD_HTTP_NO_CONTENT, response);
}

/* Returns 0 when all of it is taken, -EAGAIN when it has to wait, -ENOBUFS when it has to wait until answers
 * are fetched, -ENOMEM. */
static int sending_take(struct sending *sending)
{
    struct application *application = &sending->session->application;
    struct text message;
    int found;
    while ((found = messages_get(&sending->messages, &message)) == 1) {
        if (session_is_stuffed(sending->session))
            return -ENOBUFS;
        if (application_take(application, message, true))
            return -EAGAIN;
        messages_next(&sending->messages);
    }
    return found;
}

/* Returns false when it has to wait. */
static bool sending_run(struct sending *sending)
{
    struct session *session = sending->session;
    int err;
    do {
        session_cork(session);
        err = sending_take(sending);
        session_uncork(session);
    } while (err == -ENOBUFS && !session->is_closed && !session_is_stuffed(session));
    bool has_to_wait = err == -EAGAIN || err == -ENOBUFS;
    if (err == -ENOBUFS && session->receiver)
        receiver_call(session->receiver);
    if (has_to_wait && !session->is_closed)
        return false;
    if (has_to_wait)
        sending_answer_gone(sending->exchange);
    else if (err)
        exchange_answer(sending->exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
    else
        sending_answer(sending);
    return true;
}

void sendings_go_on(struct session *session)
{
    list_drain (link, &session->sendings) {
        if (sending_run(container_of(link, struct sending, link)))
            continue;
        list_prepend(&session->sendings, link);
        return;
    }
}

void sendings_drop(struct session *session)
{
    list_drain (link, &session->sendings)
        sending_answer_gone(container_of(link, struct sending, link)->exchange);
}

/* Returns as messages_begin. */
static int sending_read(struct sending *sending)
{
    struct text body;
    const char *type = exchange_field(sending->exchange, FIELD_CONTENT_TYPE);
    body.bytes = exchange_body(sending->exchange, &body.len);
    bool is_form = sending->carrier == CARRIER_JSONP_SEND && type &&
                   strncasecmp(type, FORM_TYPE, sizeof(FORM_TYPE) - 1) == 0;
    return is_form ? messages_begin_form(&sending->messages, body) : messages_begin(&sending->messages, body);
}

static void sending_refuse(struct sending *sending, int err)
{
    const char *what = err == -ENODATA ? "Payload expected." : "Broken JSON encoding.";
    if (err == -ENOMEM)
        exchange_answer(sending->exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
    else
        reply_text(sending->exchange, MHD_HTTP_INTERNAL_SERVER_ERROR, what, REPLY_TEXT);
    free(sending);
}

void send_begin(struct exchange *exchange, const struct sockjs_service *service,
                const struct session_path *path)
{
    struct session *session = session_find(exchange->shard, service, path->session);
    if (!session || session->is_closed) {
        sending_answer_gone(exchange);
        return;
    }
    if (session_is_full(session)) {
        sending_fail(exchange, ERROR_SESSION_FULL);
        return;
    }
    if (!session->receiver && memory_refuses(exchange->shard)) {
        sending_fail(exchange, ERROR_CONNECTION_MEMORY);
        return;
    }
    struct sending *sending = calloc(1, sizeof(*sending));
    if (!sending) {
        exchange_answer(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    list_init(&sending->link);
    sending->exchange = exchange;
    sending->session = session;
    sending->carrier = path->carrier;
    int err = sending_read(sending);
    if (err) {
        sending_refuse(sending, err);
        return;
    }
    bool is_first = list_is_empty(&session->sendings);
    exchange_hold(exchange, &sending_hold_ops, sending);
    if (is_first && sending_run(sending))
        return;
    list_append(&session->sendings, &sending->link);
    exchange_suspend(exchange);
}
