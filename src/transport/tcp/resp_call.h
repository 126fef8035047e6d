/* SPDX-License-Identifier: MIT */
#pragma once

/* A command of the Redis protocol that is being run, and those who run them: each writes one reply, or begins
 * to wait and writes it later. For the files of transport/tcp/ only. */

#include "transport/tcp/connection.h"
#include "transport/tcp/resp.h"

struct resp_call {
    struct connection *connection;
    const struct text *arguments; /* the command's own name is the first */
    unsigned count;
};

static inline bool resp_argument_is(const struct resp_call *call, unsigned index, const char *word)
{
    return text_is_word(call->arguments[index], word);
}

/* resp_commands.c */

/* Runs a command. Returns false when it has to wait for publishes: it comes again. */
bool resp_run(struct connection *connection, const struct resp_command *command);

/* The largest bulk string of a command. */
uint64_t resp_bulk_limit(const struct connection *connection);

/* authentication.c */

/* Refuses whoever has said no token, where there are keys. Returns whether it did. */
bool resp_refuses_nobody(const struct resp_call *call);

/* range.c: answered when what is asked for is gathered. */

void resp_run_xrange(const struct resp_call *call);
void resp_run_xread(const struct resp_call *call);

/* resp_subscribe.c */

void resp_run_subscribe(const struct resp_call *call);
void resp_run_unsubscribe(const struct resp_call *call);
void resp_run_psubscribe(const struct resp_call *call);
void resp_run_punsubscribe(const struct resp_call *call);

/* How many subscriptions Redis would count: channels and patterns. */
uint64_t resp_count(const struct connection *connection);

/* resp_session.c */

void resp_run_auth(const struct resp_call *call);
void resp_run_hello(const struct resp_call *call);
void resp_run_select(const struct resp_call *call);
void resp_run_client(const struct resp_call *call);
void resp_run_info(const struct resp_call *call);
void resp_run_reset(const struct resp_call *call);
void resp_run_quit(const struct resp_call *call);

/* resp_pubsub.c */

void resp_run_pubsub(const struct resp_call *call);

/* resp_transaction.c */

void resp_run_multi(const struct resp_call *call);
void resp_run_exec(const struct resp_call *call);
void resp_run_discard(const struct resp_call *call);
void resp_run_watch(const struct resp_call *call);
void resp_run_unwatch(const struct resp_call *call);

/* Keeps a command for EXEC, and answers that. */
void resp_queue(struct connection *connection, const struct resp_command *command);

/* A command was refused: EXEC will run nothing. */
void resp_transaction_refuse(struct connection *connection);
