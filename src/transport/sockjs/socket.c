/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/websocket_frame.h"
#include "http/identity.h"
#include "http/refusal.h"
#include "render/render.h"
#include "transport/sockjs/application.h"
#include "transport/sockjs/frame.h"
#include "transport/sockjs/messages.h"
#include "transport/sockjs/reply.h"
#include "websocket/websocket.h"

/* As much as the websocket itself lets a peer owe before it takes more. */
#define SOCKET_OWED_MOST 65536u

struct socket_session {
    struct websocket websocket;
    struct application application;
    bool is_raw;
    bool is_open;             /* the handshake is done: until then nothing can be written */
    bool is_draining;         /* the server stops: closed once everything on its way is answered */
    bool was_text;            /* what came last: an echo is of the same kind */
    bool has_failed;          /* not all channels of the service can be told */
    enum error_code error;    /* why its client may not have what the service is there for */
    struct messages messages; /* of a frame that comes again */
    const char *frame;        /* the bytes of that one, as they came last; NULL when there is none */
    size_t taken;             /* messages of it */
};

static struct socket_session *of_websocket(struct websocket *websocket)
{
    return container_of(websocket, struct socket_session, websocket);
}

static struct socket_session *of_conversation(struct conversation *conversation)
{
    return container_of(conversation, struct socket_session, application.conversation);
}

/* Telling. */

static void socket_send_frame(struct socket_session *session, struct buf *frame)
{
    if (frame->has_failed)
        outlet_text(&session->websocket.socket.outlet)->has_failed = true; /* it breaks, in its turn */
    else
        websocket_send(&session->websocket, true, frame->bytes, frame->len);
    buf_deinit(frame);
}

/* All that is said before it is open is that a channel of the service cannot be told. */
static void socket_say(struct conversation *conversation, const char *text, size_t len)
{
    struct socket_session *session = of_conversation(conversation);
    struct buf frame = {0};
    if (!session->is_open) {
        session->has_failed = true;
        return;
    }
    if (session->is_raw) {
        bool is_echo = session->application.service->declaration.app == APP_ECHO;
        websocket_send(&session->websocket, session->was_text || !is_echo, text, len);
        return;
    }
    buf_append_text(&frame, "a[");
    render_sockjs_string(&frame, text, len);
    buf_append_char(&frame, ']');
    socket_send_frame(session, &frame);
}

/* A client that speaks SockJS is told in its frames as well. */
static void socket_close(struct socket_session *session, enum close_reason reason, const char *what)
{
    struct buf frame = {0};
    if (websocket_is_closing(&session->websocket))
        return;
    if (!session->is_raw && !what) {
        sockjs_frame_append_close(&frame, reason, websocket_shard(&session->websocket));
        socket_send_frame(session, &frame);
    }
    websocket_close(&session->websocket, reason, what);
}

/* Delivering. */

static int socket_fill_reset(struct application *application, const struct delivery *delivery,
                             struct buf *text, bool is_raw)
{
    size_t at = text->len;
    if (is_raw) {
        application_append_reset(application, text, delivery);
    } else {
        buf_append_text(text, "a[");
        application_append_string(application, text, delivery);
        buf_append_char(text, ']');
    }
    websocket_begin_frame(text, at, WEBSOCKET_TEXT, 0);
    return 0;
}

static int socket_fill(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                       struct outlet_frame *frame)
{
    struct application *application = application_of(subscriber);
    if (!delivery->message)
        return socket_fill_reset(application, delivery, text, false);
    const struct rendering *rendering = application_render(application, delivery);
    if (!rendering)
        return -ENOMEM;
    websocket_append_frame_head(text, WEBSOCKET_TEXT, strlen("a[") + rendering->size + strlen("]"));
    buf_append_text(text, "a[");
    frame->body = rendering->bytes;
    frame->body_len = rendering->size;
    frame->end = "]";
    frame->end_len = 1;
    return 0;
}

static int socket_fill_raw(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                           struct outlet_frame *frame)
{
    struct application *application = application_of(subscriber);
    bool is_object = application_tells_objects(application);
    if (!delivery->message)
        return socket_fill_reset(application, delivery, text, true);
    const struct rendering *rendering =
        message_form(delivery->message, is_object ? FORM_WEBSOCKET_COMMAND : FORM_WEBSOCKET_DATA,
                     subscription_channel(delivery->subscription), subscription_epoch(delivery->subscription),
                     is_object ? render_websocket_command : render_websocket_data);
    if (!rendering)
        return -ENOMEM;
    frame->body = rendering->bytes;
    frame->body_len = rendering->size;
    return 0;
}

static void socket_deliver(struct command_subscription *subscription)
{
    static const struct outlet_format framed = {.fill = socket_fill};
    static const struct outlet_format raw = {.fill = socket_fill_raw};
    struct socket_session *session = of_conversation(subscription->conversation);
    if (session->is_open)
        outlet_deliver(&session->websocket.socket.outlet, &subscription->subscriber,
                       session->is_raw ? &raw : &framed, subscription->until);
    else
        subscriber_block(&subscription->subscriber);
}

static void socket_ready(struct conversation *conversation)
{
    websocket_resume(&of_conversation(conversation)->websocket);
}

static void socket_idle(struct conversation *conversation)
{
    struct socket_session *session = of_conversation(conversation);
    if (session->is_draining)
        socket_close(session, CLOSE_RESTART, NULL);
}

static void socket_over(struct conversation *conversation, enum error_code why)
{
    socket_close(of_conversation(conversation), application_close_reason(why), NULL);
}

static const struct conversation_ops socket_conversation_ops = {
    .say = socket_say,
    .deliver = socket_deliver,
    .ready = socket_ready,
    .idle = socket_idle,
    .over = socket_over,
};

/* The websocket's side. */

static void socket_begin_telling(struct socket_session *session)
{
    conversation_bear(&session->application.conversation);
    if (!websocket_is_closing(&session->websocket))
        conversation_unblock(&session->application.conversation);
}

static void socket_opened(struct websocket *websocket)
{
    struct socket_session *session = of_websocket(websocket);
    struct buf frame = {0};
    session->is_open = true;
    if (!session->is_raw) {
        buf_append_text(&frame, FRAME_OPEN);
        socket_send_frame(session, &frame);
    }
    if (application_goes_away(&session->application))
        socket_close(session, CLOSE_GO_AWAY, NULL);
    else if (session->error != ERROR_NONE)
        socket_close(session, application_close_reason(session->error), NULL);
    else if (session->has_failed)
        socket_close(session, CLOSE_TRY_LATER, NULL);
    else
        socket_begin_telling(session);
}

/* Whether the peer is to take something first, because short messages may have long answers. */
static bool socket_has_to_wait(struct socket_session *session)
{
    struct outlet *outlet = &session->websocket.socket.outlet;
    if (outlet_owed(outlet) < SOCKET_OWED_MOST)
        return false;
    outlet_call(outlet);
    return true;
}

static void socket_drop_frame(struct socket_session *session)
{
    if (session->frame)
        messages_deinit(&session->messages);
    session->frame = NULL;
}

/* Returns false when the frame has to come again: without the messages of it that have been taken. */
static bool socket_take_all(struct socket_session *session)
{
    struct text message;
    int found;
    while ((found = messages_get(&session->messages, &message)) == 1) {
        if (socket_has_to_wait(session) || application_take(&session->application, message, true))
            return false;
        session->taken++;
        messages_next(&session->messages);
    }
    session->taken = 0;
    socket_drop_frame(session);
    if (found < 0)
        socket_close(session, CLOSE_TRY_LATER, NULL);
    return true;
}

/* A frame that comes again stands elsewhere the first time. */
static bool socket_take_frame(struct socket_session *session, struct text frame)
{
    if (session->frame == frame.bytes)
        return socket_take_all(session);
    socket_drop_frame(session);
    int err = messages_begin(&session->messages, frame);
    if (err == -EINVAL)
        socket_close(session, CLOSE_PROTOCOL, "Broken JSON encoding.");
    else if (err == -ENOMEM)
        socket_close(session, CLOSE_TRY_LATER, NULL);
    if (err)
        return true; /* an empty frame is nothing */
    messages_skip(&session->messages, session->taken);
    session->frame = frame.bytes;
    return socket_take_all(session);
}

/* What comes once the server stops is not looked at. */
static bool socket_message(struct websocket *websocket, bool is_text, const char *bytes, size_t len)
{
    struct socket_session *session = of_websocket(websocket);
    struct text message = {bytes, len};
    bool is_taken = is_text || (session->is_raw && application_takes_binary(&session->application));
    if (session->is_draining)
        return true;
    session->was_text = is_text;
    if (is_taken && session->is_raw)
        return application_take(&session->application, message, is_text) == 0;
    if (is_taken)
        return socket_take_frame(session, message);
    websocket_close(websocket, CLOSE_UNSUPPORTED, "a message here is a text frame");
    return true;
}

static void socket_relieved(struct websocket *websocket)
{
    conversation_unblock(&of_websocket(websocket)->application.conversation);
    if (of_websocket(websocket)->frame)
        websocket_resume(websocket);
}

static void socket_drain(struct websocket *websocket)
{
    struct socket_session *session = of_websocket(websocket);
    session->is_draining = true;
    if (errands_are_idle(&session->application.conversation.errands))
        socket_close(session, CLOSE_RESTART, NULL);
}

static void socket_closing(struct websocket *websocket)
{
    conversation_deinit(&of_websocket(websocket)->application.conversation);
}

static void socket_release(struct websocket *websocket)
{
    struct socket_session *session = of_websocket(websocket);
    shard_count(websocket_shard(websocket), METRIC_SOCKJS_SESSIONS, (uint64_t)-1);
    socket_drop_frame(session);
    free(session);
}

/* With the frames of SockJS around them, escaped at worst. */
static uint64_t socket_limit(const struct websocket *websocket)
{
    const struct socket_session *session = container_of(websocket, struct socket_session, websocket);
    const struct application *application = &session->application;
    return session->is_raw ? application_text_max(application)
                           : application->conversation.shard->options->batch_size_bytes;
}

static const struct websocket_ops socket_websocket_ops = {
    .opened = socket_opened,
    .message = socket_message,
    .relieved = socket_relieved,
    .drain = socket_drain,
    .closing = socket_closing,
    .release = socket_release,
};

static const struct websocket_service socket_service = {
    .ops = &socket_websocket_ops,
    .message_limit = socket_limit,
    .is_session = true,
};

/* Begin. */

/* What the protocol says to who does not ask for a WebSocket. Returns whether that was the answer. */
static bool socket_refuses(struct exchange *exchange)
{
    const char *what = NULL;
    if (!websocket_is_asked(exchange))
        what = "Can \"Upgrade\" only to \"WebSocket\".\n";
    else if (exchange_asks_for(exchange, "websocket") && !exchange->client->framing.asks_to_upgrade)
        what = "\"Connection\" must be \"Upgrade\".\n";
    if (what)
        reply_text(exchange, MHD_HTTP_BAD_REQUEST, what, REPLY_TEXT);
    return what != NULL;
}

void socket_begin(struct exchange *exchange, const struct sockjs_service *service, bool is_raw)
{
    struct shard *shard = exchange->shard;
    if (socket_refuses(exchange) || identity_refuses_token(exchange))
        return;
    struct socket_session *session = refusal_make_holder(exchange, sizeof(*session), NULL);
    if (!session)
        return;
    session->is_raw = is_raw;
    session->was_text = true;
    shard_count(shard, METRIC_SOCKJS_SESSIONS, 1);
    session->error =
        application_begin(&session->application, shard, service, &socket_conversation_ops, &exchange->bearer);
    session->application.conversation.key = &session->websocket.socket.key;
    websocket_begin(&session->websocket, exchange, &socket_service);
}
