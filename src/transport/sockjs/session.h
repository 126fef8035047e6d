/* SPDX-License-Identifier: MIT */
#pragma once

/* A session over HTTP: it lives on the shard that its name is hashed to, where all its requests come, and for
 * the disconnect-delay of its service without a receiver. What is to be told while there is none stays in the
 * channels, but for answers. On the shard's thread.
 *
 *   open ──► closed    (gone from both when its life is over)
 */

#include "base/buf.h"
#include "base/list.h"
#include "base/table.h"
#include "base/timer.h"
#include "shard/limits.h"
#include "shard/memory_share.h"
#include "transport/sockjs/application.h"

struct receiver;

struct session {
    struct application application;
    UT_hash_handle hh;
    const struct sockjs_service *service;
    struct receiver *receiver; /* NULL while nobody fetches */
    struct list sendings;      /* that wait, in the order in which they came */
    struct timer life;
    struct timer going_on;     /* in the next turn: what is sent, or the end when memory was out */
    struct buf answers;        /* that wait for a receiver: JSON strings with commas between them */
    struct memory_share share; /* of the answers */
    struct limit_key limit_key;
    bool is_told_open;
    bool is_closed;
    bool is_short;  /* an answer did not fit into connection-memory */
    bool is_corked; /* several messages are being taken: what they are answered waits for the last of them */
    enum close_reason reason; /* of a closed one */
    struct garbage garbage;
    size_t key_len;
    char key[]; /* its service and its name */
};

/* The sessions of a shard. */
struct session_table {
    struct session *sessions;         /* by key */
    struct connection_limits *limits; /* that they are counted in, of all shards */
    struct lodger lodger;             /* has all end when the shard closes */
};

/* Main thread. */
void session_table_init(struct session_table *table, struct shard *shard, struct connection_limits *limits);

/* NULL when there is none. */
struct session *session_find(struct shard *shard, const struct sockjs_service *service, struct text name);

/* Begins one that there is not yet, for the client that asks; it has no receiver, and its life is that long.
 * Returns ERROR_NONE, or why there can be none. */
enum error_code session_begin(struct session **begun, struct shard *shard,
                              const struct sockjs_service *service, struct text name,
                              const struct exchange *exchange);

void session_attach(struct session *session, struct receiver *receiver);

/* The receiver has gone: as it should, or without the session's knowing what its client has got. */
void session_detach(struct session *session, bool is_interrupted);

/* Nothing is told any more but that it is closed, and why: to whoever receives, too. */
void session_close(struct session *session, enum close_reason reason);

/* Whether so much waits to be fetched that nothing more is taken from its client. */
bool session_is_full(const struct session *session);

/* Whether what is being sent waits until some of it is fetched: further messages of one request may have long
 * answers. So it does while there is little memory for answers. */
bool session_is_stuffed(const struct session *session);

/* Its client has fetched something: what is sent goes on in the next turn. */
void session_relieve(struct session *session);

/* The answers are with the receiver. */
void session_forget_answers(struct session *session);

/* Puts what the channels have to tell to the answers, about as much as one response holds. */
void session_gather(struct session *session);

/* Takes messages one by one between these two; what they are answered is then told at once. */
void session_cork(struct session *session);
void session_uncork(struct session *session);

/* What session.c asks of the wiring in services.c: the table of a shard. */
struct session_table *session_table_of(const struct shard *shard);
