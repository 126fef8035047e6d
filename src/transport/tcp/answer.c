/* SPDX-License-Identifier: MIT */
/* What a connection answers, and what its answers wait for. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/connection.h"

#define STATUS_UNAUTHORIZED 401u

/* Answers. */

/* What clients of Redis know refusals by, in its words. */
static const char *connection_resp_prefix(enum error_code error)
{
    if (error == ERROR_NO_TOKEN)
        return "-NOAUTH Authentication required.";
    if (error == ERROR_FORBIDDEN_CHANNEL)
        return "-NOPERM No permissions to access a channel:";
    return error_status(error) == STATUS_UNAUTHORIZED
               ? "-WRONGPASS invalid username-password pair or user is disabled:"
               : "-ERR";
}

void connection_append_error(const struct connection *connection, struct buf *to, enum error_code error,
                             const char *what)
{
    char text[CONNECTION_ANSWER_MAX];
    bool is_resp = connection->framing == FRAMING_RESP;
    int len = snprintf(text, sizeof(text), "%s %s %s", is_resp ? connection_resp_prefix(error) : "ERROR",
                       error_name(error), what);
    if (len >= (int)sizeof(text))
        len = (int)sizeof(text) - 1;
    frame_append(to, is_resp ? FRAMING_CRLF : (enum framing)connection->framing, text, (size_t)len);
}

struct buf *connection_text(struct connection *connection)
{
    if (resp_transaction_is_running(connection->transaction))
        return resp_transaction_replies(connection->transaction);
    return stream_socket_text(&connection->socket);
}

void connection_answer(struct connection *connection, const char *text, size_t len)
{
    frame_append(connection_text(connection), (enum framing)connection->framing, text, len);
}

void connection_answer_text(struct connection *connection, const char *text)
{
    connection_answer(connection, text, strlen(text));
}

void connection_answer_error(struct connection *connection, enum error_code error, const char *what)
{
    connection_append_error(connection, connection_text(connection), error, what);
    shard_count(connection_shard(connection), METRIC_ERRORS, 1);
}

static bool connection_passes(const struct connection *connection, struct buf *to, const char *fault)
{
    char what[CONNECTION_ANSWER_MAX];
    if (!fault)
        return true;
    snprintf(what, sizeof(what), "a channel name %s", fault);
    connection_append_error(connection, to, ERROR_BAD_CHANNEL, what);
    return false;
}

bool connection_check_channel(const struct connection *connection, struct buf *to, struct text name)
{
    return connection_passes(connection, to, channel_name_fault(name.bytes, name.len));
}

bool connection_check_wish(const struct connection *connection, struct buf *to, struct text name)
{
    return connection_passes(connection, to, channel_wish_fault(name));
}

bool connection_admits(const struct connection *connection, struct buf *to, struct text name)
{
    char fault[AUTH_FAULT_MAX];
    enum error_code error = conversation_check(&connection->conversation, ACCESS_SUBSCRIBE, name, fault);
    if (error != ERROR_NONE)
        connection_append_error(connection, to, error, fault);
    return error == ERROR_NONE;
}

/* Waiting. */

static void connection_wait_fail(struct command_wait *super, enum error_code error)
{
    struct connection_wait *wait = container_of(super, struct connection_wait, super);
    struct connection *connection = connection_of_conversation(super->conversation);
    /* One answer for each of our commands; over RESP each channel has its own. */
    if (connection->framing != FRAMING_RESP)
        wait->text.len = 0;
    connection_append_error(connection, &wait->text, error, error_text(error));
}

void connection_wait_free(struct connection *connection)
{
    buf_deinit(&connection->wait->text);
    free(connection->wait);
    connection->wait = NULL;
}

static void connection_wait_done(struct command_wait *super)
{
    struct connection *connection = connection_of_conversation(super->conversation);
    struct buf *out = stream_socket_text(&connection->socket);
    buf_append(out, connection->wait->text.bytes, connection->wait->text.len);
    out->has_failed = out->has_failed || connection->wait->text.has_failed;
    command_wait_release(super);
    connection_wait_free(connection);
    conversation_searched(&connection->conversation);
    stream_socket_resume(&connection->socket);
    connection_try_leave(connection);
}

static const struct command_wait_ops connection_wait_ops = {.fail = connection_wait_fail,
                                                            .done = connection_wait_done};

struct connection_wait *connection_wait_begin(struct connection *connection)
{
    struct connection_wait *wait = calloc(1, sizeof(*wait));
    assert(!connection->wait); /* no command is looked at while there is one */
    if (wait)
        command_wait_begin(&wait->super, &connection->conversation, &connection_wait_ops);
    else
        connection_answer_error(connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
    connection->wait = wait;
    return wait;
}

void connection_wait_end(struct connection *connection)
{
    command_wait_end(&connection->wait->super);
}
