/* SPDX-License-Identifier: MIT */
#include "websocket/websocket.h"

#include <string.h>

#include "base/websocket_frame.h"
#include "shard/comeback.h"
#include "shard/life.h"
#include "shard/shard.h"
#include "shard/socket.h"
#include "websocket/handshake.h"

/* Nothing more is taken while so much is owed, because a short message may have a long answer. */
#define WEBSOCKET_OWED_MOST 65536u
/* A peer that has not shown itself for so many pings is given up. */
#define WEBSOCKET_PINGS_MOST 2u
#define WEBSOCKET_TICKS_PER_PING 4u
#define WEBSOCKET_TICK_MOST_MS 5000u

static struct websocket *websocket_of_socket(struct stream_socket *socket)
{
    return container_of(socket, struct websocket, socket);
}

/* Sending. */

static void websocket_append(struct websocket *websocket, enum websocket_opcode opcode, const char *bytes,
                             size_t len)
{
    struct buf *text = stream_socket_text(&websocket->socket);
    websocket_append_frame_head(text, opcode, len);
    buf_append(text, bytes, len);
}

void websocket_send(struct websocket *websocket, bool is_text, const char *bytes, size_t len)
{
    if (!websocket->is_closing)
        websocket_append(websocket, is_text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, bytes, len);
}

static void websocket_start_closing(struct websocket *websocket)
{
    websocket->is_closing = true;
    websocket->service->ops->closing(websocket);
    stream_socket_finish(&websocket->socket);
}

/* Section 5.5.1: the code, then the reason; no payload where there is no code. */
static void websocket_append_close(struct websocket *websocket, unsigned code, const char *what)
{
    char payload[2 + CLOSE_REASON_MAX] = {(char)(code >> 8), (char)code};
    size_t len = code > 0 ? 2 + strnlen(what, CLOSE_REASON_MAX) : 0;
    if (len > 2)
        memcpy(payload + 2, what, len - 2);
    websocket_append(websocket, WEBSOCKET_CLOSE, payload, len);
}

void websocket_close(struct websocket *websocket, enum close_reason reason, const char *what)
{
    char text[COMEBACK_TEXT_MAX];
    if (websocket->is_closing)
        return;
    if (reason == CLOSE_RESTART && websocket->is_aged)
        reason = CLOSE_AGED;
    shard_count(websocket_shard(websocket), METRIC_CLOSED_NORMAL + (unsigned)reason, 1);
    if (reason == CLOSE_RESTART && !what) {
        comeback_say(websocket_shard(websocket), text);
        what = text;
    }
    websocket_append_close(websocket, close_code(reason), what ? what : close_text(reason));
    websocket_start_closing(websocket);
}

/* The peer's close is answered with its own code, or without one when it gave none (section 5.5.1). */
static void websocket_answer_close(struct websocket *websocket, unsigned code)
{
    shard_count(websocket_shard(websocket), METRIC_CLOSED_NORMAL, 1);
    websocket_append_close(websocket, code, "");
    websocket_start_closing(websocket);
}

/* Reading. */

static struct input_limits websocket_limits(const struct websocket *websocket)
{
    const struct options *options = websocket_shard(websocket)->options;
    const struct websocket_service *service = websocket->service;
    return (struct input_limits){
        .message_bytes = service->message_limit(websocket),
        .fragments = options->websocket_fragments,
    };
}

/* It is paused until the message is done with. */
static void websocket_hand_over(struct websocket *websocket, const struct input_event *event)
{
    bool is_done;
    websocket->partial_ms = 0;
    websocket->is_paused = true;
    do {
        websocket->is_resuming = false;
        is_done =
            websocket->service->ops->message(websocket, event->is_text, event->bytes.bytes, event->bytes.len);
    } while (!is_done && websocket->is_resuming && !websocket->is_closing);
    websocket->is_paused = !is_done;
    if (is_done || websocket->is_closing)
        return;
    if (input_keep(&websocket->input, event))
        websocket_close(websocket, CLOSE_TRY_LATER, NULL);
    else
        stream_socket_pause(&websocket->socket);
}

static void websocket_handle(struct websocket *websocket, const struct input_event *event)
{
    switch (event->kind) {
    case INPUT_NOTHING:
    case INPUT_PONG:
        break;
    case INPUT_MESSAGE:
        websocket_hand_over(websocket, event);
        break;
    case INPUT_PING:
        websocket_append(websocket, WEBSOCKET_PONG, event->bytes.bytes, event->bytes.len);
        break;
    case INPUT_CLOSE:
        websocket_answer_close(websocket, event->code);
        break;
    case INPUT_FAILED:
        websocket_close(websocket, event->reason, event->what);
        break;
    }
}

/* What has come of a message that is not whole, or not done with. */
static void websocket_count_input(struct websocket *websocket)
{
    if (memory_share_set(&websocket->share, websocket_shard(websocket), websocket->input.message.capacity))
        return;
    websocket_close(websocket, CLOSE_CONNECTION_MEMORY, NULL);
    input_deinit(&websocket->input);
}

/* Takes what there is, as far as it may be taken now. */
static void websocket_take(struct websocket *websocket, struct text *bytes)
{
    struct stream_socket *socket = &websocket->socket;
    struct input_event event = {.kind = INPUT_PONG};
    websocket->is_taking = true;
    while (event.kind != INPUT_NOTHING && !websocket->is_closing && !websocket->is_paused &&
           socket->state == STREAM_OPEN && outlet_owed(&socket->outlet) < WEBSOCKET_OWED_MOST) {
        const struct input_limits limits = websocket_limits(websocket);
        input_read(&websocket->input, bytes, &limits, &event);
        websocket_handle(websocket, &event);
    }
    websocket->is_taking = false;
    websocket_count_input(websocket);
    if (!input_is_partial(&websocket->input))
        websocket->partial_ms = 0;
    else if (websocket->partial_ms == 0)
        websocket->partial_ms = websocket_shard(websocket)->now_ms;
    if (event.kind != INPUT_NOTHING && !websocket->is_paused && socket->state == STREAM_OPEN)
        outlet_call(&socket->outlet);
}

static size_t websocket_read(struct stream_socket *socket, const char *bytes, size_t len)
{
    struct websocket *websocket = websocket_of_socket(socket);
    struct text rest = {bytes, len};
    websocket->pings = 0;
    websocket_take(websocket, &rest);
    return len - rest.len;
}

void websocket_resume(struct websocket *websocket)
{
    struct text nothing = {"", 0};
    if (!websocket->is_paused || websocket->is_closing || websocket->socket.state != STREAM_OPEN)
        return;
    websocket->is_resuming = true;
    if (websocket->is_taking)
        return;
    const struct input_event event = input_kept(&websocket->input);
    websocket->is_taking = true;
    websocket_hand_over(websocket, &event);
    websocket->is_taking = false;
    if (websocket->is_paused || websocket->is_closing)
        return;
    websocket_take(websocket, &nothing);
    if (!websocket->is_paused)
        stream_socket_resume(&websocket->socket);
}

/* The socket's side. */

/* The peer has ended without a word: what it has not got of what is owed it gets, if it reads still. */
static void websocket_ended(struct stream_socket *socket, enum error_code why)
{
    struct websocket *websocket = websocket_of_socket(socket);
    if (why != ERROR_NONE) {
        websocket_close(websocket, CLOSE_CONNECTION_MEMORY, NULL);
        return;
    }
    shard_count(websocket_shard(websocket), METRIC_HANGUPS, 1);
    if (!websocket->is_closing)
        websocket_start_closing(websocket);
}

static void websocket_writable(struct stream_socket *socket)
{
    struct websocket *websocket = websocket_of_socket(socket);
    struct text nothing = {"", 0};
    if (websocket->partial_ms > 0)
        websocket->partial_ms = websocket_shard(websocket)->now_ms; /* it may not have been read until now */
    if (!websocket->is_paused)
        websocket_take(websocket, &nothing);
    if (!websocket->is_closing && socket->state == STREAM_OPEN && websocket->service->ops->relieved)
        websocket->service->ops->relieved(websocket);
}

static void websocket_drain(struct stream_socket *socket)
{
    struct websocket *websocket = websocket_of_socket(socket);
    if (websocket->service->ops->drain && !websocket->is_closing)
        websocket->service->ops->drain(websocket);
    else
        websocket_close(websocket, CLOSE_RESTART, NULL);
}

/* As the body of a request has to come in time, so has a message, while it is read: what has come of it takes
 * memory. */
static bool websocket_is_late(const struct websocket *websocket)
{
    const struct shard *shard = websocket_shard(websocket);
    return websocket->partial_ms > 0 && !websocket->is_paused &&
           websocket->socket.outlet.state == OUTLET_READY &&
           shard->now_ms - websocket->partial_ms >= shard->options->body_timeout_ms;
}

/* Also when there are no pings, because a reload may ask for some. */
static uint64_t websocket_tick_ms(const struct shard *shard)
{
    uint64_t ping_ms = shard->options->websocket_ping_ms;
    uint64_t tick_ms = (ping_ms + WEBSOCKET_TICKS_PER_PING - 1) / WEBSOCKET_TICKS_PER_PING;
    return life_look_ms(shard,
                        tick_ms > 0 && tick_ms < WEBSOCKET_TICK_MOST_MS ? tick_ms : WEBSOCKET_TICK_MOST_MS);
}

static bool websocket_is_over(const struct websocket *websocket)
{
    const struct shard *shard = websocket_shard(websocket);
    return !websocket->is_aged && !websocket->is_closing &&
           life_is_over(shard, websocket->end_ms, websocket_tick_ms(shard));
}

/* A peer that is not read, because a message of its is not done with, cannot show that it is there. */
static void websocket_tick(struct stream_socket *socket)
{
    struct websocket *websocket = websocket_of_socket(socket);
    if (websocket_is_late(websocket)) {
        websocket_close(websocket, CLOSE_LATE, NULL);
        return;
    }
    if (websocket_is_over(websocket)) {
        websocket->is_aged = true;
        websocket_drain(socket);
        return;
    }
    uint64_t ping_ms = websocket_shard(websocket)->options->websocket_ping_ms;
    uint64_t silent_ms = ping_ms * (WEBSOCKET_TICKS_PER_PING - 1) / WEBSOCKET_TICKS_PER_PING;
    if (ping_ms == 0 || websocket->is_closing || !outlet_is_silent(&socket->outlet, silent_ms))
        return;
    if (websocket->pings == WEBSOCKET_PINGS_MOST) {
        websocket_close(websocket, CLOSE_SILENT, NULL);
        return;
    }
    websocket->pings += !websocket->is_paused;
    websocket_append(websocket, WEBSOCKET_PING, "", 0);
}

static void websocket_free(struct garbage *garbage)
{
    struct websocket *websocket = websocket_of_socket(container_of(garbage, struct stream_socket, garbage));
    stream_socket_deinit(&websocket->socket);
    input_deinit(&websocket->input);
    (void)memory_share_set(&websocket->share, websocket_shard(websocket), 0); /* less always fits */
    websocket->service->ops->release(websocket);
}

static void websocket_gone(struct stream_socket *socket)
{
    struct websocket *websocket = websocket_of_socket(socket);
    if (!websocket->is_closing) {
        websocket->is_closing = true;
        websocket->service->ops->closing(websocket);
    }
    shard_reap(websocket_shard(websocket), &socket->garbage, websocket_free);
}

static const struct stream_socket_ops websocket_socket_ops = {
    .read = websocket_read,
    .ended = websocket_ended,
    .writable = websocket_writable,
    .drain = websocket_drain,
    .tick = websocket_tick,
    .gone = websocket_gone,
};

/* Beginning and end. */

static void websocket_opened(struct upgrade *upgrade, const struct arrival *arrival, struct text early)
{
    struct websocket *websocket = container_of(upgrade, struct websocket, upgrade);
    struct stream_socket *socket = &websocket->socket;
    struct shard *shard = websocket_shard(websocket);
    socket->ops = &websocket_socket_ops;
    if (stream_socket_open(socket, shard, arrival)) {
        socket_close(arrival->fd);
        connection_limits_remove(shard->group->limits, &arrival->key);
        websocket_gone(socket);
        return;
    }
    stream_table_tick(&shard->streams, websocket_tick_ms(shard));
    websocket->end_ms =
        websocket->service->is_session ? LIFE_ENDLESS : life_begin(shard, websocket_tick_ms(shard));
    websocket->service->ops->opened(websocket);
    stream_socket_push(socket, early.bytes, early.len);
}

static void websocket_lost(struct upgrade *upgrade)
{
    websocket_gone(&container_of(upgrade, struct websocket, upgrade)->socket);
}

static const struct upgrade_ops websocket_upgrade_ops = {.opened = websocket_opened, .lost = websocket_lost};

bool websocket_is_asked(const struct exchange *exchange)
{
    return exchange_asks_for(exchange, "websocket") || exchange_field(exchange, FIELD_WEBSOCKET_KEY);
}

void websocket_begin(struct websocket *websocket, struct exchange *exchange,
                     const struct websocket_service *service)
{
    char accept[HANDSHAKE_ACCEPT_SIZE];
    websocket->service = service;
    websocket->upgrade.ops = &websocket_upgrade_ops;
    websocket->socket.outlet.shard = exchange->shard;
    if (!handshake_check(exchange)) {
        websocket_gone(&websocket->socket);
        return;
    }
    handshake_accept(accept, exchange_field(exchange, FIELD_WEBSOCKET_KEY));
    websocket->subprotocol =
        handshake_choose(exchange_field(exchange, FIELD_WEBSOCKET_PROTOCOL), service->subprotocols);
    const char *const headers[] = {"Upgrade",
                                   "websocket",
                                   "Sec-WebSocket-Accept",
                                   accept,
                                   websocket->subprotocol ? "Sec-WebSocket-Protocol" : NULL,
                                   websocket->subprotocol,
                                   NULL};
    exchange_upgrade(exchange, headers, &websocket->upgrade);
}
