/* SPDX-License-Identifier: MIT */
#pragma once

/* The subscriptions of a conversation: each is a subscriber of its own, with a cursor and no queue. A command
 * that has asked for some is answered when all of them are in place, and before anything of them is told.
 *
 * Everything runs on the shard's thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/text.h"
#include "command/request.h"
#include "core/subscriber.h"
#include "shard/garbage.h"

struct conversation;

#define COMMAND_FAULT_MAX 128u

struct command_wait;
struct command_wait_ops {
    /* A subscription that was awaited has failed, and is gone. */
    void (*fail)(struct command_wait *wait, enum error_code error);
    /* Nothing is awaited any more: to be answered, and command_wait_release called. The wait may be freed,
     * and its conversation deinitialised. */
    void (*done)(struct command_wait *wait);
};

/* What the answer of a command waits for: it is embedded there. */
struct command_wait {
    const struct command_wait_ops *ops;
    struct conversation *conversation;
    unsigned awaited;
    enum recovery recovery; /* of its subscriptions */
};

/*   joining ──► held ──► live
 *      `──────────────────^
 */
enum command_state {
    COMMAND_JOINING, /* its channel is being attached, or its cursor checked */
    COMMAND_HELD,    /* its start is known, but its command is not answered yet */
    COMMAND_LIVE,
};

struct command_subscription {
    struct conversation *conversation;
    void (*deliver)(struct command_subscription *subscription); /* the conversation's, nearer by one miss of
                                                                   the cache */
    struct command_wait *wait;   /* of the command that awaits it; NULL when none does */
    struct command_wait *search; /* of the command that awaits subscriber_search_again; NULL when none does */
    uint64_t until; /* offset of the last message to tell: UINT64_MAX, or of a history what was the end when
                       it began */
    uint8_t state;  /* enum command_state */
    bool is_history;
    bool is_lost; /* a new grant does not allow it: see conversation_follow_grant */
    struct subscriber subscriber;
    struct garbage garbage;
    struct list link; /* in the conversation */
};

/* Begins to wait, for one thing at first: the command itself, until it has asked for everything. */
void command_wait_begin(struct command_wait *wait, struct conversation *conversation,
                        const struct command_wait_ops *ops);

/* One thing that was awaited has come. */
void command_wait_end(struct command_wait *wait);

/* The command is answered: what was held back for it goes on. */
void command_wait_release(struct command_wait *wait);

/* What is to be subscribed to. */
struct command_wish {
    struct text channel; /* a valid name, or a wild one */
    const struct start *start;
    enum subscriber_policy policy;
    bool is_history; /* awaited until it is told */
};

/* Whether the conversation may have so many channels more, whatever has subscribed to them; otherwise `fault`
 * is a sentence (ERROR_TOO_MANY_CHANNELS). */
bool command_has_room(const struct conversation *conversation, unsigned count, char fault[COMMAND_FAULT_MAX]);

/* Whether the rates let the conversation subscribe to one channel more, which takes of them; otherwise
 * `fault` is a sentence (ERROR_SUBSCRIBE_RATE). What has been declared, or follows a pattern, is not asked.
 */
enum error_code command_admit(const struct conversation *conversation, struct text channel,
                              char fault[PUBLISH_FAULT_MAX]);

/* Subscribes; `wait`, which may be NULL, counts it. Returns why it cannot. */
enum error_code command_subscribe(struct conversation *conversation, const struct command_wish *wish,
                                  struct command_wait *wait);

/* The subscription to a channel, or to what is below a wild name; NULL if there is none. */
struct command_subscription *command_subscription_find(const struct conversation *conversation,
                                                       struct text channel);

/* Whether it has a wild name. */
static inline bool command_subscription_is_wild(const struct command_subscription *subscription)
{
    return subscription->subscriber.pending == SUBSCRIBER_SPREADS;
}

/* Looks for what is below its wild name anew, because the conversation may have other channels now; `wait`,
 * which may be NULL, counts it. */
void command_subscription_search(struct command_subscription *subscription, struct command_wait *wait);

/* Nothing of it is told any more. Its wait counts one less, without an end. */
void command_unsubscribe(struct command_subscription *subscription);

/* Ends it because of an error, which a command that awaits it answers. Returns whether there is one. */
bool command_subscription_end(struct command_subscription *subscription, enum error_code error);

/* The same of all there are. */
void command_unsubscribe_all(struct conversation *conversation);

/* A history that has been told ends; to be called after it was delivered. Returns whether it did. */
bool command_history_try_end(struct command_subscription *subscription);

/* Tells the carrier of one that is gone (conversation_ops.lost). */
void conversation_tell_lost(struct conversation *conversation, struct text channel, enum error_code error,
                            const char *what);
