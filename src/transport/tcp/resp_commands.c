/* SPDX-License-Identifier: MIT */
/* The commands of the Redis protocol, answered as Redis answers them. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "base/number.h"
#include "config/channel_options.h"
#include "render/render.h"
#include "transport/tcp/reply.h"
#include "transport/tcp/resp_call.h"

/* What of a wrong command is repeated to its sender, as much as Redis does. */
#define RESP_REPEATED_MAX 128
#define RESP_FAULT_MAX 1024

static void resp_run_publish(const struct resp_call *call)
{
    tcp_publish(call->connection, call->arguments[1], call->arguments[2], PUBLISH_COUNT);
}

/* Small ones. */

static void resp_run_ping(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    const struct text nothing = {"", 0};
    const struct text *text = call->count > 1 ? &call->arguments[1] : &nothing;
    if (call->count > 2) {
        reply_error(connection, "ERR wrong number of arguments for 'ping' command");
    } else if (connection->protocol == 2 && resp_count(connection) > 0) {
        struct buf *out = connection_text(connection);
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

static void resp_run_command(const struct resp_call *call);

/* What becomes of a command between MULTI and EXEC. Only what is answered shortly is queued, so that the
 * answer of EXEC is no larger than what was sent. */
enum resp_in_transaction { RESP_QUEUED, RESP_RUN, RESP_REFUSED };

/* Arity as Redis counts it: with the name; negative is at least that many. */
static const struct resp_row {
    const char *name;
    int arity;
    bool is_for_subscribers; /* also in RESP2 */
    enum resp_in_transaction in_transaction;
    void (*run)(const struct resp_call *call);
} resp_rows[] = {
    {"subscribe", -2, true, RESP_REFUSED, resp_run_subscribe},
    {"unsubscribe", -1, true, RESP_REFUSED, resp_run_unsubscribe},
    {"psubscribe", -2, true, RESP_REFUSED, resp_run_psubscribe},
    {"punsubscribe", -1, true, RESP_REFUSED, resp_run_punsubscribe},
    {"publish", 3, false, RESP_QUEUED, resp_run_publish},
    {"pubsub", -2, false, RESP_REFUSED, resp_run_pubsub},
    {"ping", -1, true, RESP_QUEUED, resp_run_ping},
    {"echo", 2, false, RESP_QUEUED, resp_run_echo},
    {"multi", 1, false, RESP_RUN, resp_run_multi},
    {"exec", 1, false, RESP_RUN, resp_run_exec},
    {"discard", 1, false, RESP_RUN, resp_run_discard},
    {"watch", -2, false, RESP_RUN, resp_run_watch},
    {"unwatch", 1, false, RESP_QUEUED, resp_run_unwatch},
    {"auth", -2, true, RESP_REFUSED, resp_run_auth},
    {"hello", -1, false, RESP_REFUSED, resp_run_hello},
    {"select", 2, false, RESP_QUEUED, resp_run_select},
    {"xrange", -4, false, RESP_REFUSED, resp_run_xrange},
    {"xread", -4, false, RESP_REFUSED, resp_run_xread},
    {"reset", 1, true, RESP_RUN, resp_run_reset},
    {"quit", -1, true, RESP_RUN, resp_run_quit},
    {"command", -1, false, RESP_REFUSED, resp_run_command},
    {"client", -2, false, RESP_QUEUED, resp_run_client},
    {"info", -1, false, RESP_REFUSED, resp_run_info},
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
    struct buf *out = connection_text(connection);
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
static int resp_repeat(char *to, const struct text *text)
{
    int len = text->len < RESP_REPEATED_MAX ? (int)text->len : RESP_REPEATED_MAX;
    for (int i = 0; i < len; i++)
        to[i] = isprint((unsigned char)text->bytes[i]) ? text->bytes[i] : ' ';
    return len;
}

static const char *resp_tell_unknown(const struct resp_call *call, char text[RESP_FAULT_MAX])
{
    size_t len = (size_t)sprintf(text, "ERR unknown command '");
    len += (size_t)resp_repeat(text + len, &call->arguments[0]);
    len += (size_t)sprintf(text + len, "', with args beginning with: ");
    for (unsigned i = 1; i < call->count && i <= 3; i++) {
        text[len++] = '\'';
        len += (size_t)resp_repeat(text + len, &call->arguments[i]);
        len += (size_t)sprintf(text + len, "' ");
    }
    text[len] = '\0';
    return text;
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

/* Why a command is not run, or NULL. */
static const char *resp_find_fault(const struct resp_call *call, const struct resp_row *row,
                                   char fault[RESP_FAULT_MAX])
{
    const struct connection *connection = call->connection;
    if (!row)
        return resp_tell_unknown(call, fault);
    if (!resp_has_arity(row, call->count))
        snprintf(fault, RESP_FAULT_MAX, "ERR wrong number of arguments for '%s' command", row->name);
    else if (connection->protocol == 2 && resp_count(connection) > 0 && !row->is_for_subscribers)
        snprintf(fault, RESP_FAULT_MAX,
                 "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                 "allowed in this context",
                 row->name);
    else if (connection->transaction && row->in_transaction == RESP_REFUSED)
        return "ERR Command not allowed inside a transaction";
    else
        return NULL;
    return fault;
}

/* PUBLISH needs only room among those on their way; the others are answered in their turn, after all of them.
 */
static bool resp_has_to_wait(struct connection *connection, bool is_publish)
{
    struct conversation *conversation = &connection->conversation;
    return is_publish ? !errands_may_publish(&conversation->errands)
                      : !errands_are_idle(&conversation->errands);
}

bool resp_run(struct connection *connection, const struct resp_command *command)
{
    const struct resp_call call = {connection, command->arguments, command->count};
    const struct resp_row *row = resp_find_row(&call);
    char text[RESP_FAULT_MAX];
    const char *fault = resp_find_fault(&call, row, text);
    bool is_queued = connection->transaction && !resp_transaction_is_running(connection->transaction);
    bool is_publish = !fault && row->run == resp_run_publish;
    uint64_t most =
        is_publish ? channel_message_size(connection_shard(connection)->options, call.arguments[1]) : 0;
    bool is_too_large = is_publish && call.arguments[2].len > most;
    if (resp_has_to_wait(connection, is_publish && !is_too_large && !is_queued))
        return false;
    bool is_auth = !fault && (row->run == resp_run_auth || row->run == resp_run_hello);
    if (is_auth && !conversation_may_authenticate(&connection->conversation))
        return false;
    if (fault) {
        resp_transaction_refuse(connection);
        reply_error(connection, fault);
    } else if (is_too_large) {
        connection_refuse_frame(connection, UPDATE_RAW, most);
    } else if (is_queued && row->in_transaction == RESP_QUEUED) {
        resp_queue(connection, command);
    } else {
        row->run(&call);
        return !resp_transaction_is_running(connection->transaction) || row->run != resp_run_exec;
    }
    return true;
}

uint64_t resp_bulk_limit(const struct connection *connection)
{
    return number_greater(channel_message_size_most(connection_shard(connection)->options), RESP_INLINE_MAX);
}

/* What cannot be understood. Returns false when that has to wait for publishes. */
static bool resp_refuse(struct connection *connection, const struct resp_command *command)
{
    char text[160];
    if (!errands_are_idle(&connection->conversation.errands))
        return false;
    snprintf(text, sizeof(text), "ERR %s", command->fault);
    reply_error(connection, text);
    connection_leave(connection);
    return true;
}

ssize_t resp_take(struct connection *connection, const char *bytes, size_t len)
{
    struct resp_command command;
    enum resp_result result = resp_read(bytes, len, resp_bulk_limit(connection), &command);
    if (result == RESP_PARTIAL)
        return 0;
    connection_move(connection, CONNECTION_TALKING);
    bool is_done = result == RESP_BROKEN ? resp_refuse(connection, &command)
                                         : command.count == 0 || resp_run(connection, &command);
    return is_done ? (ssize_t)command.size : -EAGAIN;
}
