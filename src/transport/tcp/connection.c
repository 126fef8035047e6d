/* SPDX-License-Identifier: MIT */
#include "transport/tcp/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/channel_options.h"
#include "shard/comeback.h"
#include "transport/tcp/commands.h"
#include "transport/tcp/resp.h"
#include "transport/tcp/tcp.h"

/* A command is at most this much longer than the message that it publishes. */
#define COMMAND_HEAD_MAX (CHANNEL_NAME_MAX + 16u)

/* How often is looked who is late, at least. */
#define CONNECTION_TICK_MOST_MS 5000u

static struct connection *connection_of(struct stream_socket *socket)
{
    return container_of(socket, struct connection, socket);
}

/* The conversation's side. */

static void connection_say(struct conversation *conversation, const char *json, size_t len)
{
    struct connection *connection = connection_of_conversation(conversation);
    frame_append(stream_socket_text(&connection->socket), (enum framing)connection->framing, json, len);
}

static void connection_deliver(struct command_subscription *subscription)
{
    if (tcp_deliver(subscription) == OUTLET_DONE && !command_history_try_end(subscription))
        connection_try_leave(connection_of_conversation(subscription->conversation));
}

/* What waits does so for room, or for everything that is on its way. */
static void connection_ready(struct conversation *conversation)
{
    struct connection *connection = connection_of_conversation(conversation);
    if (!connection->wait)
        stream_socket_resume(&connection->socket);
}

static void connection_idle(struct conversation *conversation)
{
    connection_ready(conversation);
    connection_try_leave(connection_of_conversation(conversation));
}

/* Nobody asked: it stands before the answer of a transaction, not in it. */
static void connection_lost(struct conversation *conversation, struct text channel, enum error_code error,
                            const char *what)
{
    struct connection *connection = connection_of_conversation(conversation);
    struct buf *out = stream_socket_text(&connection->socket);
    if (connection->format == UPDATE_JSON)
        conversation_say_lost(conversation, channel, error, what);
    else if (connection->framing == FRAMING_RESP && channel.len > 0)
        resp_append_lost(connection, out, channel);
    else
        connection_append_error(connection, out, error, what);
}

static void connection_over(struct conversation *conversation, enum error_code why)
{
    connection_end(connection_of_conversation(conversation), why, error_text(why));
}

static const struct conversation_ops connection_conversation_ops = {
    .say = connection_say,
    .deliver = connection_deliver,
    .ready = connection_ready,
    .idle = connection_idle,
    .lost = connection_lost,
    .over = connection_over,
};

/* The end. */

static bool connection_has_said_everything(struct connection *connection)
{
    /* What the client said before its end has been taken: its end is not read while the socket is paused. */
    return !connection->wait && errands_are_idle(&connection->conversation.errands) &&
           conversation_is_told(&connection->conversation);
}

/* Not where what the server says is data, and not to clients of Redis, which connect again by themselves when
 * a connection ends, but hand an error to the application. */
static void connection_say_comeback(struct connection *connection)
{
    char text[COMEBACK_TEXT_MAX];
    if (connection->declaration->input != INPUT_COMMAND || connection->framing == FRAMING_RESP ||
        connection->framing == FRAMING_AUTO)
        return;
    comeback_say(connection_shard(connection), text);
    connection_lost(&connection->conversation, (struct text){"", 0}, ERROR_STOPPING, text);
}

void connection_try_leave(struct connection *connection)
{
    struct stream_socket *socket = &connection->socket;
    if (connection->state < CONNECTION_LEAVING || socket->state != STREAM_OPEN ||
        socket->outlet.state == OUTLET_BLOCKED || !connection_has_said_everything(connection))
        return;
    const enum error_code refusal = (enum error_code)connection->refusal;
    if (refusal != ERROR_NONE)
        connection_lost(&connection->conversation, (struct text){"", 0}, refusal, error_text(refusal));
    else if (socket->is_drained)
        connection_say_comeback(connection);
    conversation_deinit(&connection->conversation);
    stream_socket_finish(socket);
}

/* Nothing is told any more. */
static void connection_let_go(struct connection *connection)
{
    conversation_deinit(&connection->conversation);
    resp_transaction_forget(connection);
    if (!connection->wait)
        return;
    pubsub_forget(connection->wait->pubsub);
    range_forget(connection->wait->range);
    connection_wait_free(connection);
}

void connection_end(struct connection *connection, enum error_code why, const char *what)
{
    struct stream_socket *socket = &connection->socket;
    connection->state = CONNECTION_DEAF;
    connection_let_go(connection);
    if (connection->format == UPDATE_JSON)
        conversation_say_error(&connection->conversation, why, what);
    else
        connection_answer_error(connection, why, what);
    if (socket->state == STREAM_OPEN)
        stream_socket_finish(socket);
}

void connection_move(struct connection *connection, enum connection_state to)
{
    if (to > connection->state)
        connection->state = (uint8_t)to;
    if (to >= CONNECTION_LEAVING)
        connection_try_leave(connection);
}

void connection_leave(struct connection *connection)
{
    connection_move(connection, CONNECTION_DEAF);
}

/* Reading. */

#define CONNECTION_HTTP_HEAD                                                                                 \
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define CONNECTION_HTTP_BODY                                                                                 \
    "{\"error\":\"bad-request\",\"message\":\"this port speaks raw TCP, see docs/TCP.md; HTTP is at "        \
    "another\"}\n"

/* What clients of other protocols are told, in their own. */
static const struct {
    const char *event;
    const char *action;
    const char *answer;
    size_t len;
} connection_strangers[] = {
    [STRANGER_HTTP] = {"http-on-tcp", "none of it was run; point HTTP clients at an http address",
                       CONNECTION_HTTP_HEAD CONNECTION_HTTP_BODY,
                       sizeof(CONNECTION_HTTP_HEAD CONNECTION_HTTP_BODY) - 1},
    /* A fatal alert, handshake_failure (RFC 8446, section 6). */
    [STRANGER_TLS] = {"tls-on-tcp", "raw TCP has no TLS here; connect without it, or through a TLS proxy",
                      "\x15\x03\x03\x00\x02\x02\x28", 7},
};

static void connection_refuse_stranger(struct connection *connection, enum framing_stranger stranger)
{
    log_event(LOG_INFO, connection_strangers[stranger].event,
              LOG_TEXT("listener", connection->declaration->entrance.address),
              LOG_TEXT("action", connection_strangers[stranger].action));
    shard_count(connection_shard(connection), METRIC_REFUSED, 1);
    buf_append(stream_socket_text(&connection->socket), connection_strangers[stranger].answer,
               connection_strangers[stranger].len);
    connection_leave(connection);
}

static uint64_t connection_frame_limit(const struct connection *connection)
{
    const struct options *options = connection_shard(connection)->options;
    const struct declaration *declaration = connection->declaration;
    if (connection->format == UPDATE_JSON)
        return conversation_text_max(&connection->conversation);
    if (declaration->input == INPUT_PUBLISH)
        return channel_message_size(options, channel_name_text(&declaration->publish_to));
    uint64_t size = channel_message_size_most(options);
    return declaration->input == INPUT_COMMAND ? size + COMMAND_HEAD_MAX : size;
}

/* Without the room for the words before the data of PUBLISH. */
static uint64_t connection_told_limit(const struct connection *connection)
{
    bool is_command = connection->format != UPDATE_JSON && connection->declaration->input == INPUT_COMMAND;
    return connection_frame_limit(connection) - (is_command ? COMMAND_HEAD_MAX : 0);
}

void connection_refuse_frame(struct connection *connection, enum update_format format, uint64_t most)
{
    char what[CONNECTION_ANSWER_MAX];
    bool is_json = format == UPDATE_JSON;
    snprintf(what, sizeof(what), "a frame%s has at most %llu bytes (message-size)",
             is_json ? "" : ", or the data of PUBLISH,", (unsigned long long)most);
    if (is_json)
        conversation_say_error(&connection->conversation, ERROR_TOO_LARGE, what);
    else
        connection_answer_error(connection, ERROR_TOO_LARGE, what);
    if (connection->framing == FRAMING_LEN32 || connection->framing == FRAMING_RESP)
        connection_leave(connection);
}

/* Handles a whole frame. Returns false when it has to be looked at again later. */
static bool connection_handle_frame(struct connection *connection, const struct frame *frame)
{
    const struct declaration *declaration = connection->declaration;
    if (connection_take_token(connection, frame))
        return true;
    switch (declaration->input) {
    case INPUT_COMMAND:
        return commands_handle(connection, frame);
    case INPUT_ECHO:
        /* With the very delimiter that it came with. */
        buf_append(stream_socket_text(&connection->socket),
                   connection->framing == FRAMING_LEN32 ? frame->bytes - 4 : frame->bytes, frame->size);
        return true;
    case INPUT_PUBLISH:
        if (!errands_may_publish(&connection->conversation.errands))
            return false;
        tcp_publish(connection, (struct text){declaration->publish_to.text, declaration->publish_to.len},
                    (struct text){frame->bytes, frame->len}, PUBLISH_SILENT);
        return true;
    case INPUT_IGNORE:
        return true;
    }
    return true;
}

/* As resp_take, in the other framings. */
static ssize_t connection_take_frame(struct connection *connection, const char *bytes, size_t len)
{
    struct frame frame = {0};
    const struct frame_reader before = connection->reader;
    enum frame_result result = frame_read(&connection->reader, (enum framing)connection->framing, bytes, len,
                                          connection_frame_limit(connection), &frame);
    if (result == FRAME_PARTIAL)
        return 0;
    connection_move(connection, CONNECTION_TALKING);
    bool is_wrong = result == FRAME_TOO_LARGE || result == FRAME_BROKEN;
    if ((result == FRAME_WHOLE && !connection_handle_frame(connection, &frame)) ||
        (is_wrong && !errands_are_idle(&connection->conversation.errands))) {
        connection->reader = before;
        return -EAGAIN;
    }
    if (is_wrong)
        connection_refuse_frame(connection, (enum update_format)connection->format,
                                connection_told_limit(connection));
    return (ssize_t)frame.size;
}

static size_t connection_take(struct connection *connection, const char *bytes, size_t len)
{
    struct stream_socket *socket = &connection->socket;
    size_t done = 0;
    while (socket->state == STREAM_OPEN && !socket->is_paused && done < len) {
        ssize_t taken = connection->framing == FRAMING_RESP
                            ? resp_take(connection, bytes + done, len - done)
                            : connection_take_frame(connection, bytes + done, len - done);
        if (taken >= 0 && connection->state == CONNECTION_DEAF)
            return len;
        if (taken == 0)
            break;
        done += taken > 0 ? (size_t)taken : 0;
        if (taken < 0 || connection->wait)
            stream_socket_pause(socket);
    }
    return done;
}

static size_t connection_read(struct stream_socket *socket, const char *bytes, size_t len)
{
    struct connection *connection = connection_of(socket);
    if (connection->state == CONNECTION_DEAF && !resp_transaction_is_running(connection->transaction))
        return len;
    enum framing_stranger stranger = STRANGER_NONE;
    if (connection->state == CONNECTION_FRESH)
        stranger = framing_find_stranger(bytes, len);
    if (stranger != STRANGER_NONE) {
        connection_refuse_stranger(connection, stranger);
        return len;
    }
    if (connection->framing == FRAMING_AUTO)
        connection->framing = (uint8_t)framing_detect(bytes, len);
    if (connection->framing == FRAMING_AUTO)
        return 0;
    size_t done = connection_take(connection, bytes, len);
    if (done > 0 || socket->is_paused)
        connection->partial_ms = 0;
    if (done < len && !socket->is_paused && connection->partial_ms == 0)
        connection->partial_ms = connection_shard(connection)->now_ms;
    return done;
}

static void connection_ended(struct stream_socket *socket, enum error_code why)
{
    struct connection *connection = connection_of(socket);
    connection->refusal = (uint8_t)why;
    connection_move(connection, why == ERROR_NONE ? CONNECTION_LEAVING : CONNECTION_DEAF);
}

static void connection_writable(struct stream_socket *socket)
{
    struct connection *connection = connection_of(socket);
    if (connection->partial_ms > 0)
        connection->partial_ms =
            connection_shard(connection)->now_ms; /* it may not have been read until now */
    conversation_unblock(&connection->conversation);
    connection_try_leave(connection);
}

static void connection_drain(struct stream_socket *socket)
{
    struct connection *connection = connection_of(socket);
    if (!socket->has_ended)
        connection_leave(connection);
    if (socket->state == STREAM_OPEN)
        outlet_flush(&socket->outlet);
}

uint64_t connection_tick_ms(const struct declaration *declaration, const struct options *options)
{
    uint64_t tick_ms = CONNECTION_TICK_MOST_MS;
    if (options->body_timeout_ms / 4 < tick_ms)
        tick_ms = options->body_timeout_ms / 4 + 1;
    if (declaration->ping_ms > 0 && declaration->ping_ms / 4 < tick_ms)
        tick_ms = declaration->ping_ms / 4;
    return tick_ms;
}

/* As the body of a request has to come in time, so has a frame, while it is read: what has come of it takes
 * memory. */
static bool connection_is_late(const struct connection *connection)
{
    const struct stream_socket *socket = &connection->socket;
    const struct shard *shard = connection_shard(connection);
    return connection->partial_ms > 0 && !socket->is_paused && socket->outlet.state == OUTLET_READY &&
           shard->now_ms - connection->partial_ms >= shard->options->body_timeout_ms;
}

/* A peer that has been silent is asked to show that it is there, where its declaration says so. */
static void connection_tick(struct stream_socket *socket)
{
    struct connection *connection = connection_of(socket);
    uint64_t ping_ms = connection->declaration->ping_ms;
    if (connection_is_late(connection)) {
        connection_end(connection, ERROR_BODY_TIMEOUT, "a frame has not come whole in time (body-timeout)");
        return;
    }
    if (ping_ms > 0 && outlet_is_silent(&socket->outlet, ping_ms * 3 / 4))
        connection_answer_text(connection, connection->format == UPDATE_JSON ? "{\"op\":\"pong\"}" : "PING");
}

/* Beginning and end of a connection. */

static void connection_free(struct garbage *garbage)
{
    struct connection *connection = container_of(garbage, struct connection, socket.garbage);
    stream_socket_deinit(&connection->socket);
    free(connection);
}

static void connection_gone(struct stream_socket *socket)
{
    struct connection *connection = connection_of(socket);
    connection_let_go(connection);
    shard_reap(connection_shard(connection), &socket->garbage, connection_free);
}

static const struct stream_socket_ops connection_socket_ops = {
    .read = connection_read,
    .ended = connection_ended,
    .writable = connection_writable,
    .drain = connection_drain,
    .tick = connection_tick,
    .gone = connection_gone,
};

static enum error_code connection_accept(struct listener *listener, const struct arrival *arrival)
{
    static _Atomic uint32_t last_id;
    struct bearer shown = {0};
    enum error_code error = arrival->error;
    if (error == ERROR_NONE)
        error = bearer_certify(&shown, listener->shard, arrival->fd);
    /* Whose certificate is refused for good is nobody. */
    if (error != ERROR_NONE && error_status(error) != 401)
        return error;
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection)
        connection->socket.ops = &connection_socket_ops;
    if (!connection || stream_socket_open(&connection->socket, listener->shard, arrival)) {
        bearer_identify(&shown, NULL);
        free(connection);
        return ERROR_OUT_OF_MEMORY;
    }
    connection->id = ++last_id;
    connection->declaration = listener->context;
    connection->framing = (uint8_t)declaration_first_framing(connection->declaration);
    connection->protocol = 2;
    conversation_init(&connection->conversation, listener->shard, &connection_conversation_ops,
                      TRANSPORT_TCP);
    connection->conversation.ahead = connection;
    connection->conversation.key = &connection->socket.key;
    bearer_identify(&connection->conversation.bearer, shown.grant);
    connection_begin(connection);
    if (connection->state != CONNECTION_DEAF)
        conversation_bear(&connection->conversation);
    return ERROR_NONE;
}

static size_t connection_render_error(struct listener *listener, enum error_code error, char *to, size_t size)
{
    const struct declaration *declaration = listener->context;
    const struct connection as_if = {.framing = (uint8_t)declaration_first_framing(declaration)};
    struct buf text = {0};
    connection_append_error(&as_if, &text, error, error_text(error));
    size_t len = text.has_failed || text.len > size ? 0 : text.len;
    memcpy(to, len > 0 ? text.bytes : "", len);
    buf_deinit(&text);
    return len;
}

const struct listener_ops connection_listener_ops = {
    .take = connection_accept,
    .render_error = connection_render_error,
};
