/* SPDX-License-Identifier: MIT */
#pragma once

/* A client that speaks the command protocol (docs/PROTOCOL.md, "Commands"), whatever carries it: a carrier
 * hands over whole JSON texts, says the answers and delivers to subscriptions.
 *
 * Everything runs on the shard's thread. Embedded by the carrier, and freed not before the turn of the loop
 * in which it was deinitialised is over.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "command/subscription.h"
#include "core/errands.h"
#include "core/name_list.h"
#include "core/subscriber.h"
#include "shard/shard.h"

struct conversation;

struct conversation_ops {
    /* Says an answer: one JSON object without delimiter, after everything said before. Also called in
     * conversation_take. Must not deinitialise. */
    void (*say)(struct conversation *conversation, const char *json, size_t len);
    /* There is something to tell: to be delivered (outlet_deliver up to subscription->until), or blocked. May
     * deinitialise. */
    void (*deliver)(struct command_subscription *subscription);
    /* After conversation_take has returned -EAGAIN, or conversation_may_authenticate false: it may be given
     * again. May call conversation_take, and deinitialise. */
    void (*ready)(struct conversation *conversation);
    /* Nothing is awaited any more: for who wants to leave when all is said. May deinitialise. May be NULL. */
    void (*idle)(struct conversation *conversation);
    /* A subscription that no command awaits is gone, and why; the channel is empty where it is not known.
     * NULL: an error object is said. */
    void (*lost)(struct conversation *conversation, struct text channel, enum error_code error,
                 const char *what);
    /* Its grant is over, or there is none in time, or too many tokens were bad: to be told why, and
     * deinitialised. */
    void (*over)(struct conversation *conversation, enum error_code why);
};

struct conversation {
    const struct conversation_ops *ops;
    struct shard *shard;
    const void *ahead;           /* what `deliver` touches first, see struct subscriber; itself until set */
    const struct limit_key *key; /* where the client comes from, the carrier's; NULL until set: unknown */
    struct list subscriptions;   /* in the order in which they were asked for */
    struct errands errands;      /* the commands that are on their way */
    uint16_t subscription_count; /* of all kinds */
    uint8_t transport;           /* enum transport_kind */
    bool is_blocked;
    bool awaits_token;            /* what it is there for wants one */
    uint8_t bad_tokens;           /* since a good one; see conversation_may_authenticate */
    bool is_searching;            /* what a new token allows besides, before that is answered */
    struct timer authenticated;   /* armed from a token, or its late answer, to the next turn of the loop */
    struct list lost;             /* errors that are told behind the answer, see conversation_searched */
    const struct name_list *feed; /* see conversation_feed; NULL when there is none */
    struct bearer bearer;
    struct persona *said;   /* what the client has said of itself last; one reference, or NULL */
    uint64_t introduced_ms; /* see conversation_introduce */
};

/* The client says who it is, or what it wants to be known of it (both checked; what is not given stays), for
 * what it subscribes to from now on. Says so too often: ERROR_PRESENCE_RATE. */
enum error_code conversation_introduce(struct conversation *conversation, struct text as, struct text info);

void conversation_init(struct conversation *conversation, struct shard *shard,
                       const struct conversation_ops *ops, enum transport_kind transport);

/* Who asks, as he is known now; borrowed from the conversation. */
struct asker conversation_asker(const struct conversation *conversation);

/* Leaves every channel; what is on its way is answered to nobody. Twice does no harm. */
void conversation_deinit(struct conversation *conversation);

/* Takes one JSON text, hostile. Returns 0 when it is answered or on its way (what is wrong is answered too),
 * or -EAGAIN when too much is on its way: the same text is to be given again after `ready`. */
int conversation_take(struct conversation *conversation, const char *text, size_t len);

/* The largest text that a client needs: a publish of a message of message-size, with what is escaped in it. A
 * carrier refuses larger ones. */
uint64_t conversation_text_max(const struct conversation *conversation);

/* Says an error that is no answer to a command. */
void conversation_say_error(struct conversation *conversation, enum error_code error, const char *what);

/* The same, of a subscription that is lost; the channel may be empty. */
void conversation_say_lost(struct conversation *conversation, struct text channel, enum error_code error,
                           const char *what);

/* The carrier is away or full: nothing is delivered until it is unblocked. Unblocking also serves those
 * subscriptions that outlet_deliver has blocked. */
void conversation_block(struct conversation *conversation);
void conversation_unblock(struct conversation *conversation);

/* Whether the subscriptions have been told everything that there is now. */
bool conversation_is_told(struct conversation *conversation);

/* What is to be told, as objects without delimiter: a message is CONVERSATION_MESSAGE, what
 * render_json_members appends, and a brace. */
#define CONVERSATION_MESSAGE "{\"op\":\"message\","
void conversation_append_reset(struct buf *to, const struct delivery *delivery);
