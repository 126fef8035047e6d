/* SPDX-License-Identifier: MIT */
/* What Redis clients say of themselves, and ask of the server, when they connect. */

#include <stdio.h>

#include "base/clock.h"
#include "base/number.h"
#include "config.h"
#include "transport/tcp/reply.h"
#include "transport/tcp/resp_call.h"

static void resp_confirm_auth(const struct connection *connection, struct buf *to)
{
    (void)connection;
    buf_append_text(to, "+OK\r\n");
}

/* Without keys there are no passwords, and Redis says so. */
void resp_run_auth(const struct resp_call *call)
{
    bool has_keys = auth_keys_are_there(connection_shard(call->connection)->keys);
    if (has_keys && call->count <= 3)
        (void)connection_authenticate(call->connection, call->arguments[call->count - 1], resp_confirm_auth);
    else if (call->count == 2)
        reply_error(call->connection, "ERR AUTH <password> called without any password configured for the "
                                      "default user. Are you sure your configuration is correct?");
    else if (call->count == 3 && resp_argument_is(call, 1, "default"))
        reply_status(call->connection, "OK");
    else if (call->count == 3)
        reply_error(call->connection, "WRONGPASS invalid username-password pair or user is disabled.");
    else
        reply_error(call->connection, "ERR syntax error");
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

void resp_run_hello(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    bool has_keys = auth_keys_are_there(connection_shard(connection)->keys);
    struct text token = {0};
    uint64_t version = connection->protocol;
    if (call->count > 1 && number_parse_u64(&version, call->arguments[1].bytes, call->arguments[1].len)) {
        reply_error(connection, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version < 2 || version > 3) {
        reply_error(connection, "NOPROTO unsupported protocol version");
        return;
    }
    for (unsigned i = 2; i < call->count;) {
        bool is_auth = resp_argument_is(call, i, "AUTH") && i + 2 < call->count;
        bool is_name = resp_argument_is(call, i, "SETNAME") && i + 1 < call->count;
        if (is_auth && has_keys)
            token = call->arguments[i + 2];
        if (is_auth && !has_keys && !resp_argument_is(call, i + 1, "default")) {
            reply_error(connection, "WRONGPASS invalid username-password pair or user is disabled.");
            return;
        }
        if (!is_auth && !is_name) {
            reply_error(connection, "ERR Syntax error in HELLO option");
            return;
        }
        i += is_auth ? 3 : 2;
    }
    uint8_t before = connection->protocol;
    connection->protocol = (uint8_t)version;
    if (!token.bytes)
        resp_append_hello(connection, connection_text(connection));
    else if (!connection_authenticate(connection, token, resp_append_hello))
        connection->protocol = before;
}

void resp_run_select(const struct resp_call *call)
{
    uint64_t index;
    if (number_parse_u64(&index, call->arguments[1].bytes, call->arguments[1].len))
        reply_error(call->connection, "ERR value is not an integer or out of range");
    else if (index > 0)
        reply_error(call->connection, "ERR DB index is out of range: there is only database 0");
    else
        reply_status(call->connection, "OK");
}

void resp_run_client(const struct resp_call *call)
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

/* What goes on in the process is for those who may read /metrics. */
static void resp_append_numbers(struct buf *to, const struct shard_group *group)
{
    char text[512];
    snprintf(
        text, sizeof(text),
        "uptime_in_seconds:%llu\r\n\r\n# Clients\r\nconnected_clients:%llu\r\npubsub_clients:%llu\r\n\r\n"
        "# Stats\r\ntotal_connections_received:%llu\r\npubsub_channels:%llu\r\n",
        (unsigned long long)(clock_monotonic_ms() - group->started_ms) / 1000,
        (unsigned long long)shard_group_sum(group, METRIC_CONNECTIONS),
        (unsigned long long)shard_group_sum(group, METRIC_SUBSCRIBERS_TCP),
        (unsigned long long)shard_group_sum(group, METRIC_ACCEPTED),
        (unsigned long long)shard_group_sum(group, METRIC_CHANNELS_ATTACHED));
    buf_append_text(to, text);
}

void resp_run_info(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct buf text = {0};
    char fault[AUTH_FAULT_MAX];
    if (resp_refuses_nobody(call))
        return;
    buf_append_text(&text, "# Server\r\nserver_name:sluice\r\nsluice_version:" PACKAGE_VERSION
                           "\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n");
    if (conversation_check(&connection->conversation, ACCESS_ADMIN, (struct text){0}, fault) == ERROR_NONE)
        resp_append_numbers(&text, connection_shard(connection)->group);
    buf_append_text(&text, "\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
    if (text.has_failed)
        connection_answer_error(connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
    else
        reply_bulk(connection, text.bytes, text.len);
    buf_deinit(&text);
}

/* As a connection that has just been made, but that its listener's feed has ended too: in RESP2 it could not
 * run other commands beside it. */
void resp_run_reset(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    resp_transaction_forget(connection);
    command_unsubscribe_all(&connection->conversation);
    bearer_identify(&connection->conversation.bearer, NULL);
    (void)bearer_certify(&connection->conversation.bearer, connection_shard(connection),
                         connection->socket.watch.fd); /* or he is nobody */
    connection->protocol = 2;
    reply_status(connection, "RESET");
}

void resp_run_quit(const struct resp_call *call)
{
    reply_status(call->connection, "OK");
    connection_leave(call->connection);
}
