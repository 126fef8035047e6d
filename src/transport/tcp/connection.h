/* SPDX-License-Identifier: MIT */
#pragma once

/* A raw TCP connection and what belongs to it: for the files of transport/tcp/ only. Everything runs on the
 * thread of the connection's shard.
 *
 * What is subscribed and published is its conversation's, whose commands are the JSON of the command
 * protocol; those of raw TCP and RESP are other words for the same. Of these, one is answered before the next
 * one is looked at, but for publishes. What such a command has to wait for is the connection's `wait`; the
 * socket is paused as long as there is one.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "command/auth.h"
#include "shard/shard.h"
#include "transport/tcp/declaration.h"
#include "transport/tcp/framing.h"

#define PATTERNS_MAX 64u
#define CONNECTION_ANSWER_MAX (AUTH_FAULT_MAX + 128u)

/* What a client is told: the data alone, or objects of the command protocol, which it may speak then. */
enum update_format { UPDATE_RAW, UPDATE_JSON };

/*   fresh ──► talking ──► leaving ──► deaf
 *     └──────────┴───────────┴─────────^
 */
enum connection_state {
    CONNECTION_FRESH, /* nothing has been understood yet: it may turn out to be HTTP */
    CONNECTION_TALKING,
    CONNECTION_LEAVING, /* its peer has ended: goes as soon as everything pending is written */
    CONNECTION_DEAF,    /* the same, and what its client says does not count any more */
};

struct connection_wait;
struct pubsub;
struct range;
struct resp_transaction;
struct connection {
    uint8_t framing;  /* enum framing */
    uint8_t protocol; /* of RESP: 2 or 3 */
    uint8_t format;   /* enum update_format */
    uint8_t state;    /* enum connection_state */
    struct stream_socket socket;
    struct conversation conversation;
    const struct declaration *declaration;
    struct connection_wait *wait;         /* NULL when the next command may be looked at */
    struct resp_transaction *transaction; /* from MULTI to EXEC; NULL otherwise */
    struct frame_reader reader;
    uint64_t partial_ms; /* when the frame began that is not whole yet; 0 when there is none */
    uint32_t id;         /* as CLIENT ID says it */
    bool has_spoken;     /* its first frame is done with */
    uint8_t refusal;     /* enum error_code: told at last, behind all that was taken before */
};

/* connection.c */

static inline struct shard *connection_shard(const struct connection *connection)
{
    return connection->socket.outlet.shard;
}

static inline struct connection *connection_of_conversation(struct conversation *conversation)
{
    return container_of(conversation, struct connection, conversation);
}

/* Moves the connection on, which may go then. Does nothing when it is that far already. */
void connection_move(struct connection *connection, enum connection_state to);

/* Tells why nothing more is told or understood, and closes. */
void connection_end(struct connection *connection, enum error_code why, const char *what);

/* Sends what is pending, then closes; nothing more is understood. */
void connection_leave(struct connection *connection);

/* Goes when everything is said: after anything that may have been the last. */
void connection_try_leave(struct connection *connection);

/* Answers that a frame is too large, and leaves where what comes after it cannot be told from it. No publish
 * is on its way. `format` is that of the answer, `most` what is allowed. */
void connection_refuse_frame(struct connection *connection, enum update_format format, uint64_t most);

/* answer.c */

/* Where the answers of commands go. */
struct buf *connection_text(struct connection *connection);

/* Answers in the framing of the connection. */
void connection_answer(struct connection *connection, const char *text, size_t len);
void connection_answer_text(struct connection *connection, const char *text);

/* `ERROR code what` or `-ERR code what`. */
void connection_answer_error(struct connection *connection, enum error_code error, const char *what);

/* Appends an error as connection_answer_error would. */
void connection_append_error(const struct connection *connection, struct buf *to, enum error_code error,
                             const char *what);

/* Whether a channel may have that name; appends the error that says why not. */
bool connection_check_channel(const struct connection *connection, struct buf *to, struct text name);

/* The same, of what may be subscribed to: a wild name too. */
bool connection_check_wish(const struct connection *connection, struct buf *to, struct text name);

/* Whether the connection may subscribe to a name that was checked; otherwise appends the error. */
bool connection_admits(const struct connection *connection, struct buf *to, struct text name);

/* What a command waits for; text that is to be answered once everything that was awaited has come. */
struct connection_wait {
    struct command_wait super;
    struct buf text;
    struct pubsub *pubsub; /* things awaited */
    struct range *range;
};

/* Begins to wait, for one thing at first; NULL when memory is out. */
struct connection_wait *connection_wait_begin(struct connection *connection);

/* One thing that was awaited has come; after the last one, the answer is given and reading goes on. */
void connection_wait_end(struct connection *connection);

/* Nothing is awaited any more, without an answer. */
void connection_wait_free(struct connection *connection);

/* authentication.c */

/* Begins what the listener is there for, as far as it may be: without a token for what wants one, that is
 * awaited. */
void connection_begin(struct connection *connection);

/* Takes a frame that is a token: the first one, on a listener whose frames are no commands. Returns whether
 * it is one; where one is awaited it has to be. */
bool connection_take_token(struct connection *connection, const struct frame *frame);

/* Takes a token that a command says; `confirm` appends the answer, which follows when all is found that it
 * allows besides. Returns whether it is a good one; otherwise the error is answered. */
bool connection_authenticate(struct connection *connection, struct text token,
                             void (*confirm)(const struct connection *connection, struct buf *to));

/* delivery.c */

/* Writes what the subscriber has not been told, as much as the socket takes. */
enum outlet_progress tcp_deliver(struct command_subscription *subscription);

/* `RESET channel reason number`, of a delivery that is one. */
void delivery_append_reset(struct buf *to, const struct delivery *delivery);

/* resp_subscribe.c */

/* Appends that a subscription has ended, as if it had been asked for. */
void resp_append_lost(const struct connection *connection, struct buf *to, struct text channel);

/* resp_pubsub.c */

/* The connection has gone: nobody is told. May be NULL. */
void pubsub_forget(struct pubsub *pubsub);

/* range.c */

/* The same. */
void range_forget(struct range *range);

/* resp_transaction.c; `transaction` may be NULL */

bool resp_transaction_is_running(const struct resp_transaction *transaction);
struct buf *resp_transaction_replies(struct resp_transaction *transaction);
void resp_transaction_forget(struct connection *connection);

/* publish.c */

enum tcp_publish_answer {
    PUBLISH_SILENT,    /* only errors are told */
    PUBLISH_CONFIRMED, /* CONFIRMED */
    PUBLISH_SIGNAL,    /* the same, of a transient message */
    PUBLISH_COUNT,     /* how many receive it, as a RESP integer */
};

/* Publishes; the answer comes in the order of the publishes. */
void tcp_publish(struct connection *connection, struct text channel, struct text data,
                 enum tcp_publish_answer answer);
