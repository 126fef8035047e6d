/* SPDX-License-Identifier: MIT */
/* The commands of the Redis protocol, answered as Redis answers them. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/number.h"
#include "config.h"
#include "render/render.h"
#include "transport/tcp/connection.h"
#include "transport/tcp/range.h"
#include "transport/tcp/reply.h"
#include "transport/tcp/resp.h"

#define RESP_NAME_MAX 32u
/* What of a wrong command is repeated to its sender, as much as Redis does. */
#define RESP_REPEATED_MAX 128

struct resp_call {
    struct connection *connection;
    const struct command_text *arguments; /* the command's own name is the first */
    unsigned count;
};

static bool resp_argument_is(const struct resp_call *call, unsigned index, const char *word)
{
    const struct command_text *text = &call->arguments[index];
    return text->len == strlen(word) && strncasecmp(text->bytes, word, text->len) == 0;
}

static void resp_reply_syntax(struct connection *connection)
{
    reply_error(connection, "ERR syntax error");
}

/* Subscribing. */

/* "subscribe", the channel, and how many this connection has then. */
static void resp_append_subscription(const struct connection *connection, struct buf *to, const char *kind,
                                     const struct command_text *channel, uint64_t count)
{
    reply_append_push(connection, to, 3);
    reply_append_text(to, kind);
    if (channel)
        render_resp_bulk(to, channel->bytes, channel->len);
    else
        reply_append_null(connection, to);
    reply_append_header(to, ':', count);
}

/* What Redis counts: channels and patterns. */
static uint64_t resp_count(const struct connection *connection)
{
    return (uint64_t)connection->subscription_count - connection->below_count + connection->pattern_count;
}

static bool resp_check_channel(struct connection *connection, const struct command_text *channel,
                               struct buf *to)
{
    const char *fault = channel_name_fault(channel->bytes, channel->len);
    char what[256];
    if (!fault && connection->subscription_count < SUBSCRIPTIONS_MAX)
        return true;
    snprintf(what, sizeof(what), "a channel name %s", fault ? fault : "");
    connection_append_error(connection, to, fault ? ERROR_BAD_CHANNEL : ERROR_TOO_MANY_CHANNELS,
                            fault ? what : "a connection subscribes to at most 1024 channels");
    return false;
}

/* All channels of the command are joined, and answered together when all are in place. */
static void resp_run_subscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    const struct start start = {.kind = START_NOW};
    struct connection_wait *wait = connection_wait_begin(connection);
    for (unsigned i = 1; wait && i < call->count; i++) {
        const struct command_text *channel = &call->arguments[i];
        if (!resp_check_channel(connection, channel, &wait->text))
            continue;
        if (!tcp_subscription_find(connection, channel->bytes, channel->len) &&
            tcp_subscribe(connection, SUBSCRIPTION_FEED, channel->bytes, channel->len, &start, NULL, NULL))
            connection_append_error(connection, &wait->text, ERROR_OUT_OF_MEMORY,
                                    error_text(ERROR_OUT_OF_MEMORY));
        else
            resp_append_subscription(connection, &wait->text, "subscribe", channel, resp_count(connection));
    }
    if (wait)
        connection_wait_end(connection);
}

static void resp_unsubscribe_all(struct connection *connection, struct buf *out)
{
    bool has_any = false;
    list_for_each_safe (link, &connection->subscriptions) {
        struct tcp_subscription *subscription = container_of(link, struct tcp_subscription, link);
        struct command_text channel;
        if (subscription->pattern)
            continue;
        has_any = true;
        channel.bytes = subscription_channel(&subscription->subscriber.one, &channel.len);
        resp_append_subscription(connection, out, "unsubscribe", &channel, resp_count(connection) - 1);
        tcp_unsubscribe(subscription);
    }
    if (!has_any)
        resp_append_subscription(connection, out, "unsubscribe", NULL, resp_count(connection));
}

static void resp_run_unsubscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct buf *out = stream_socket_text(&connection->socket);
    if (call->count == 1)
        resp_unsubscribe_all(connection, out);
    for (unsigned i = 1; i < call->count; i++) {
        const struct command_text *channel = &call->arguments[i];
        struct tcp_subscription *subscription =
            tcp_subscription_find(connection, channel->bytes, channel->len);
        if (subscription)
            tcp_unsubscribe(subscription);
        resp_append_subscription(connection, out, "unsubscribe", channel, resp_count(connection));
    }
}

/* Patterns: a channel tree only. */
static void resp_run_psubscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct connection_wait *wait = connection_wait_begin(connection);
    for (unsigned i = 1; wait && i < call->count; i++) {
        const struct command_text *pattern = &call->arguments[i];
        if (!tcp_pattern_is_valid(pattern->bytes, pattern->len))
            connection_append_error(connection, &wait->text, ERROR_BAD_CHANNEL,
                                    "a pattern is the name of a channel, a slash and a star, as scores/*");
        else if (connection->pattern_count >= PATTERNS_MAX)
            connection_append_error(connection, &wait->text, ERROR_TOO_MANY_CHANNELS,
                                    "a connection has at most 64 patterns");
        else if (!tcp_pattern_find(connection, pattern->bytes, pattern->len) &&
                 tcp_pattern_add(connection, pattern->bytes, pattern->len))
            connection_append_error(connection, &wait->text, ERROR_OUT_OF_MEMORY,
                                    error_text(ERROR_OUT_OF_MEMORY));
        else
            resp_append_subscription(connection, &wait->text, "psubscribe", pattern, resp_count(connection));
    }
    if (wait)
        connection_wait_end(connection);
}

static void resp_drop_pattern(struct connection *connection, struct buf *out, const struct command_text *text)
{
    struct tcp_pattern *pattern = tcp_pattern_find(connection, text->bytes, text->len);
    uint64_t count = resp_count(connection) - (pattern != NULL);
    resp_append_subscription(connection, out, "punsubscribe", text, count);
    if (pattern)
        tcp_pattern_remove(pattern);
}

static void resp_run_punsubscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct buf *out = stream_socket_text(&connection->socket);
    if (call->count == 1 && list_is_empty(&connection->patterns))
        resp_append_subscription(connection, out, "punsubscribe", NULL, resp_count(connection));
    list_for_each_safe (link, &connection->patterns) {
        const struct tcp_pattern *pattern = container_of(link, struct tcp_pattern, link);
        const struct command_text text = {pattern->text, pattern->len};
        if (call->count == 1)
            resp_drop_pattern(connection, out, &text);
    }
    for (unsigned i = 1; i < call->count; i++)
        resp_drop_pattern(connection, out, &call->arguments[i]);
}

static void resp_run_publish(const struct resp_call *call)
{
    const struct command_text *channel = &call->arguments[1];
    const struct command_text *data = &call->arguments[2];
    tcp_publish(call->connection, channel->bytes, channel->len, data->bytes, data->len, PUBLICATION_COUNT);
}

/* Small ones. */

static void resp_run_ping(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    const struct command_text nothing = {"", 0};
    const struct command_text *text = call->count > 1 ? &call->arguments[1] : &nothing;
    if (call->count > 2) {
        reply_error(connection, "ERR wrong number of arguments for 'ping' command");
    } else if (connection->protocol == 2 && resp_count(connection) > 0) {
        struct buf *out = stream_socket_text(&connection->socket);
        reply_append_header(out, '*', 2);
        reply_append_text(out, "pong");
        render_resp_bulk(out, text->bytes, text->len);
    } else if (call->count > 1) {
        reply_bulk(connection, text->bytes, text->len);
    } else {
        reply_status(connection, "PONG");
    }
}

static void resp_run_echo(const struct resp_call *call)
{
    reply_bulk(call->connection, call->arguments[1].bytes, call->arguments[1].len);
}

/* Without passwords, as Redis says it when it has none. */
static void resp_run_auth(const struct resp_call *call)
{
    if (call->count == 2)
        reply_error(call->connection, "ERR AUTH <password> called without any password configured for the "
                                      "default user. Are you sure your configuration is correct?");
    else if (call->count == 3 && resp_argument_is(call, 1, "default"))
        reply_status(call->connection, "OK");
    else if (call->count == 3)
        reply_error(call->connection, "WRONGPASS invalid username-password pair or user is disabled.");
    else
        resp_reply_syntax(call->connection);
}

static void resp_append_pair(struct buf *to, const char *name, const char *value)
{
    reply_append_text(to, name);
    reply_append_text(to, value);
}

static void resp_append_hello(const struct connection *connection, struct buf *to)
{
    reply_append_map(connection, to, 7);
    resp_append_pair(to, "server", "sluice");
    resp_append_pair(to, "version", PACKAGE_VERSION);
    reply_append_text(to, "proto");
    reply_append_header(to, ':', connection->protocol);
    reply_append_text(to, "id");
    reply_append_header(to, ':', connection->id);
    resp_append_pair(to, "mode", "standalone");
    resp_append_pair(to, "role", "master");
    reply_append_text(to, "modules");
    reply_append_header(to, '*', 0);
}

static void resp_run_hello(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    uint64_t version = connection->protocol;
    if (call->count > 1 && (number_parse_u64(&version, call->arguments[1].bytes, call->arguments[1].len) ||
                            version < 2 || version > 3)) {
        reply_error(connection, "NOPROTO unsupported protocol version");
        return;
    }
    for (unsigned i = 2; i < call->count;) {
        bool is_auth = resp_argument_is(call, i, "AUTH") && i + 2 < call->count;
        bool is_name = resp_argument_is(call, i, "SETNAME") && i + 1 < call->count;
        if (is_auth && !resp_argument_is(call, i + 1, "default")) {
            reply_error(connection, "WRONGPASS invalid username-password pair or user is disabled.");
            return;
        }
        if (!is_auth && !is_name) {
            reply_error(connection, "ERR Syntax error in HELLO option");
            return;
        }
        i += is_auth ? 3 : 2;
    }
    connection->protocol = (uint8_t)version;
    resp_append_hello(connection, stream_socket_text(&connection->socket));
}

static void resp_run_client(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    if (resp_argument_is(call, 1, "ID") && call->count == 2)
        reply_number(connection, connection->id);
    else if ((resp_argument_is(call, 1, "SETNAME") && call->count == 3) ||
             (resp_argument_is(call, 1, "SETINFO") && call->count == 4))
        reply_status(connection, "OK");
    else
        reply_error(connection, "ERR unknown subcommand. Try CLIENT SETNAME, SETINFO or ID.");
}

static void resp_run_info(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    const struct shard_group *group = connection_shard(connection)->group;
    char text[1024];
    int len = snprintf(
        text, sizeof(text),
        "# Server\r\nserver_name:sluice\r\nsluice_version:%s\r\nredis_version:7.0.0\r\nredis_mode:standalone"
        "\r\nuptime_in_seconds:%llu\r\n\r\n# Clients\r\nconnected_clients:%llu\r\npubsub_clients:%llu\r\n"
        "\r\n# Stats\r\ntotal_connections_received:%llu\r\npubsub_channels:%llu\r\n\r\n# Replication\r\n"
        "role:master\r\nconnected_slaves:0\r\n",
        PACKAGE_VERSION, (unsigned long long)(clock_monotonic_ms() - group->started_ms) / 1000,
        (unsigned long long)shard_group_sum(group, METRIC_CONNECTIONS),
        (unsigned long long)shard_group_sum(group, METRIC_SUBSCRIBERS_TCP),
        (unsigned long long)shard_group_sum(group, METRIC_ACCEPTED),
        (unsigned long long)shard_group_sum(group, METRIC_CHANNELS_ATTACHED));
    reply_bulk(connection, text, (size_t)len);
}

static void resp_run_quit(const struct resp_call *call)
{
    reply_status(call->connection, "OK");
    connection_leave(call->connection);
}

static void resp_run_xrange(const struct resp_call *call)
{
    range_run_xrange(call->connection, call->arguments, call->count);
}

static void resp_run_xread(const struct resp_call *call)
{
    range_run_xread(call->connection, call->arguments, call->count);
}

static void resp_run_command(const struct resp_call *call);

/* Arity as Redis counts it: with the name; negative is at least that many. */
static const struct resp_row {
    const char *name;
    int arity;
    bool is_for_subscribers; /* also in RESP2 */
    void (*run)(const struct resp_call *call);
} resp_rows[] = {
    {"subscribe", -2, true, resp_run_subscribe},
    {"unsubscribe", -1, true, resp_run_unsubscribe},
    {"psubscribe", -2, true, resp_run_psubscribe},
    {"punsubscribe", -1, true, resp_run_punsubscribe},
    {"publish", 3, false, resp_run_publish},
    {"ping", -1, true, resp_run_ping},
    {"echo", 2, false, resp_run_echo},
    {"auth", -2, false, resp_run_auth},
    {"hello", -1, false, resp_run_hello},
    {"xrange", -4, false, resp_run_xrange},
    {"xread", -4, false, resp_run_xread},
    {"quit", -1, true, resp_run_quit},
    {"command", -1, false, resp_run_command},
    {"client", -2, false, resp_run_client},
    {"info", -1, false, resp_run_info},
};

static void resp_append_row(const struct resp_row *row, struct buf *to)
{
    char arity[16];
    reply_append_header(to, '*', 6);
    reply_append_text(to, row->name);
    snprintf(arity, sizeof(arity), ":%d\r\n", row->arity);
    buf_append_text(to, arity);
    reply_append_header(to, '*', 0);
    for (unsigned i = 0; i < 3; i++)
        reply_append_header(to, ':', 0);
}

static void resp_run_command(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct buf *out = stream_socket_text(&connection->socket);
    bool is_list = call->count == 2 && resp_argument_is(call, 1, "LIST");
    if (call->count == 2 && resp_argument_is(call, 1, "COUNT")) {
        reply_number(connection, ARRAY_LENGTH(resp_rows));
    } else if (call->count > 1 && resp_argument_is(call, 1, "DOCS")) {
        reply_append_map(connection, out, 0);
    } else if (call->count == 1 || is_list) {
        reply_append_header(out, '*', ARRAY_LENGTH(resp_rows));
        for (size_t i = 0; i < ARRAY_LENGTH(resp_rows); i++) {
            if (is_list)
                reply_append_text(out, resp_rows[i].name);
            else
                resp_append_row(&resp_rows[i], out);
        }
    } else {
        reply_error(connection, "ERR unknown subcommand. Try COMMAND, COMMAND COUNT, LIST or DOCS.");
    }
}

/* Dispatch. */

/* What may be repeated to a client in an error line. */
static int resp_repeat(char *to, const struct command_text *text)
{
    int len = text->len < RESP_REPEATED_MAX ? (int)text->len : RESP_REPEATED_MAX;
    for (int i = 0; i < len; i++)
        to[i] = isprint((unsigned char)text->bytes[i]) ? text->bytes[i] : ' ';
    return len;
}

static void resp_reply_unknown(const struct resp_call *call)
{
    char text[1024];
    size_t len = (size_t)sprintf(text, "ERR unknown command '");
    len += (size_t)resp_repeat(text + len, &call->arguments[0]);
    len += (size_t)sprintf(text + len, "', with args beginning with: ");
    for (unsigned i = 1; i < call->count && i <= 3; i++) {
        text[len++] = '\'';
        len += (size_t)resp_repeat(text + len, &call->arguments[i]);
        len += (size_t)sprintf(text + len, "' ");
    }
    text[len] = '\0';
    reply_error(call->connection, text);
}

static const struct resp_row *resp_find_row(const struct resp_call *call)
{
    for (size_t i = 0; i < ARRAY_LENGTH(resp_rows); i++)
        if (resp_argument_is(call, 0, resp_rows[i].name))
            return &resp_rows[i];
    return NULL;
}

static bool resp_has_arity(const struct resp_row *row, unsigned count)
{
    return row->arity > 0 ? count == (unsigned)row->arity : count >= (unsigned)-row->arity;
}

/* Returns false when the command has to wait for publishes. */
static bool resp_run(struct connection *connection, const struct resp_command *command)
{
    const struct resp_call call = {connection, command->arguments, command->count};
    const struct resp_row *row = resp_find_row(&call);
    char text[160];
    const bool is_publish = row && row->run == resp_run_publish && resp_has_arity(row, call.count);
    const bool is_too_large =
        is_publish && call.arguments[2].len > connection_shard(connection)->options->message_size_bytes;
    if (is_publish && !is_too_large ? tcp_publications_are_full(connection)
                                    : connection->publication_count > 0)
        return false;
    if (is_too_large) {
        connection_refuse_frame(connection);
    } else if (!row) {
        resp_reply_unknown(&call);
    } else if (!resp_has_arity(row, call.count)) {
        snprintf(text, sizeof(text), "ERR wrong number of arguments for '%s' command", row->name);
        reply_error(connection, text);
    } else if (connection->protocol == 2 && resp_count(connection) > 0 && !row->is_for_subscribers) {
        snprintf(text, sizeof(text),
                 "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                 "allowed in this context",
                 row->name);
        reply_error(connection, text);
    } else {
        row->run(&call);
    }
    return true;
}

/* What cannot be understood. Returns false when that has to wait for publishes. */
static bool resp_refuse(struct connection *connection, const struct resp_command *command)
{
    char text[160];
    if (connection->publication_count > 0)
        return false;
    snprintf(text, sizeof(text), "ERR %s", command->fault);
    reply_error(connection, text);
    connection_leave(connection);
    return true;
}

static size_t resp_run_commands(struct connection *connection, struct resp_reader *reader, const char *bytes,
                                size_t len)
{
    struct stream_socket *socket = &connection->socket;
    const uint64_t limit = number_greater(socket->shard->options->message_size_bytes, RESP_INLINE_MAX);
    struct resp_command command;
    size_t done = 0;
    while (socket->state == STREAM_OPEN && !socket->is_paused && done < len) {
        enum resp_result result = resp_read(reader, bytes + done, len - done, limit, &command);
        if (result == RESP_PARTIAL)
            break;
        connection->is_fresh = false;
        if (result == RESP_BROKEN ? !resp_refuse(connection, &command)
                                  : command.count > 0 && !resp_run(connection, &command)) {
            stream_socket_pause(socket);
            break;
        }
        if (connection->is_deaf)
            return len;
        done += command.size;
        if (connection->wait)
            stream_socket_pause(socket);
    }
    return done;
}

size_t resp_read_commands(struct connection *connection, const char *bytes, size_t len)
{
    struct resp_reader *reader = resp_reader_new();
    if (!reader) {
        stream_socket_close(&connection->socket);
        return len;
    }
    size_t done = resp_run_commands(connection, reader, bytes, len);
    resp_reader_free(reader);
    return done;
}
