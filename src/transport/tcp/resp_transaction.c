/* SPDX-License-Identifier: MIT */
/* MULTI, EXEC and DISCARD: commands are kept as they came, and read again at EXEC. Their replies are gathered
 * so that nothing published meanwhile is told in the middle of EXEC's own. */

#include <errno.h>
#include <stdlib.h>

#include "transport/tcp/reply.h"
#include "transport/tcp/resp_call.h"

/* Bytes of the commands beyond one of the largest size. */
#define TRANSACTION_BYTES_MORE (4u << 20)

struct resp_transaction {
    struct buf commands;
    struct memory_share share; /* of the commands */
    struct buf replies;
    size_t run; /* bytes of `commands` that are done with */
    uint64_t count;
    bool is_refused;
    bool is_running; /* since EXEC */
};

bool resp_transaction_is_running(const struct resp_transaction *transaction)
{
    return transaction && transaction->is_running;
}

struct buf *resp_transaction_replies(struct resp_transaction *transaction)
{
    return &transaction->replies;
}

static void transaction_drop_commands(struct connection *connection)
{
    struct resp_transaction *transaction = connection->transaction;
    buf_deinit(&transaction->commands);
    (void)memory_share_set(&transaction->share, connection_shard(connection), 0); /* less always fits */
}

void resp_transaction_forget(struct connection *connection)
{
    struct resp_transaction *transaction = connection->transaction;
    if (!transaction)
        return;
    transaction_drop_commands(connection);
    buf_deinit(&transaction->replies);
    free(transaction);
    connection->transaction = NULL;
}

void resp_transaction_refuse(struct connection *connection)
{
    struct resp_transaction *transaction = connection->transaction;
    if (!transaction || transaction->is_running)
        return;
    transaction->is_refused = true;
    transaction_drop_commands(connection);
}

void resp_queue(struct connection *connection, const struct resp_command *command)
{
    struct resp_transaction *transaction = connection->transaction;
    const uint64_t most = resp_bulk_limit(connection) + TRANSACTION_BYTES_MORE;
    if (!transaction->is_refused && transaction->commands.len + command->size > most) {
        resp_transaction_refuse(connection);
        connection_answer_error(connection, ERROR_TOO_LARGE,
                                "a transaction has at most 4 MiB more than message-size");
        return;
    }
    if (!transaction->is_refused) {
        buf_append(&transaction->commands, command->bytes, command->size);
        transaction->count++;
    }
    if (!memory_share_set(&transaction->share, connection_shard(connection),
                          transaction->commands.capacity)) {
        resp_transaction_refuse(connection);
        connection_answer_error(connection, ERROR_CONNECTION_MEMORY, error_text(ERROR_CONNECTION_MEMORY));
        return;
    }
    reply_status(connection, "QUEUED");
}

void resp_run_multi(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    if (connection->transaction) {
        reply_error(connection, "ERR MULTI calls can not be nested");
        return;
    }
    connection->transaction = calloc(1, sizeof(*connection->transaction));
    if (connection->transaction)
        reply_status(connection, "OK");
    else
        connection_answer_error(connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
}

/* Returns 0 when all have been run, -EAGAIN when the next one has to wait for publishes, or -ENOMEM. */
static int transaction_run_commands(struct connection *connection)
{
    struct resp_transaction *transaction = connection->transaction;
    const struct buf *commands = &transaction->commands;
    struct resp_command command;
    int err = commands->has_failed ? -ENOMEM : 0;
    while (!err && transaction->run < commands->len) {
        if (resp_read(commands->bytes + transaction->run, commands->len - transaction->run,
                      resp_bulk_limit(connection), &command) != RESP_WHOLE)
            err = -ENOMEM; /* each was whole when it came */
        else if (!resp_run(connection, &command))
            err = -EAGAIN;
        else
            transaction->run += command.size;
    }
    return err;
}

static void transaction_reply(struct connection *connection)
{
    const struct resp_transaction *transaction = connection->transaction;
    struct buf *out = stream_socket_text(&connection->socket);
    reply_append_header(out, '*', transaction->count);
    buf_append(out, transaction->replies.bytes, transaction->replies.len);
    out->has_failed = out->has_failed || transaction->replies.has_failed;
    resp_transaction_forget(connection);
}

/* Comes again until its publishes are answered. */
void resp_run_exec(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct resp_transaction *transaction = connection->transaction;
    if (!transaction) {
        reply_error(connection, "ERR EXEC without MULTI");
        return;
    }
    if (transaction->is_refused) {
        resp_transaction_forget(connection);
        reply_error(connection, "EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    transaction->is_running = true;
    int err = transaction_run_commands(connection);
    if (err == -ENOMEM)
        stream_socket_close(&connection->socket);
    else if (err == 0 && errands_are_idle(&connection->conversation.errands))
        transaction_reply(connection);
}

void resp_run_discard(const struct resp_call *call)
{
    if (!call->connection->transaction) {
        reply_error(call->connection, "ERR DISCARD without MULTI");
        return;
    }
    resp_transaction_forget(call->connection);
    reply_status(call->connection, "OK");
}

/* There are no keys here that could change, and PUBLISH touches none in Redis either. */
void resp_run_watch(const struct resp_call *call)
{
    if (call->connection->transaction)
        reply_error(call->connection, "ERR WATCH inside MULTI is not allowed");
    else
        reply_status(call->connection, "OK");
}

void resp_run_unwatch(const struct resp_call *call)
{
    reply_status(call->connection, "OK");
}
