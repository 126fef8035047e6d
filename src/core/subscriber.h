/* SPDX-License-Identifier: MIT */
#pragma once

/* A subscriber: a cursor into the ring of each of its channels, and a `wake` operation. It has no queue.
 *
 * Everything here runs on the thread of the shard whose hub the subscriber joined. A transport embeds `struct
 * subscriber`, joins with subscriber_join, and from `wake` on reads deliveries, sends what its client
 * takes and says with subscriber_advance what was sent.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/cursor.h"
#include "core/message.h"
#include "tables/errors.h"
#include "tables/resets.h"
#include "tables/transports.h"

struct channel;
struct hub;
struct persona;
struct presence;
struct spread;
struct subscriber;

#define MISSED_UNKNOWN UINT64_MAX

enum subscription_state {
    SUBSCRIPTION_PENDING,  /* its channel is being attached, or its cursor checked */
    SUBSCRIPTION_SEEKING,  /* as pending; what came after its request is looked for in older history */
    SUBSCRIPTION_LIVE,     /* in one of the channel's lists: waiting, ready, blocked */
    SUBSCRIPTION_FETCHING, /* waits for a page of history, or ready to go on with one in its turn */
};

/* What a subscriber is told when it is slow. */
enum subscriber_policy {
    POLICY_OF_CHANNEL, /* what its channel's option says */
    POLICY_ALL,        /* every message */
    POLICY_NEWEST,     /* of each key the newest, without those that it replaces */
};
#define POLICY_WORDS "all or newest"

/* Parses `all` or `newest`. Returns 0 or -EINVAL. */
int subscriber_policy_parse(enum subscriber_policy *policy, struct text text);

/* One channel of a subscriber. */
struct subscription {
    struct list link; /* in a list of the channel, or of the page that it waits for */
    struct channel *channel;
    struct subscriber *subscriber;
    struct presence *presence; /* NULL where nobody wants to know who is there */
    uint64_t offset;           /* of the last message delivered, or passed over for newer ones */
    uint64_t missed;           /* of the reset that is to be told; see struct delivery */
    uint8_t state;             /* enum subscription_state */
    uint8_t reset;             /* enum reset_reason to be told before anything else */
    bool is_newest;            /* when it is slow it is told of each key the newest message */
    bool is_after_gap : 1;     /* the last thing that it was told is a reset */
    bool is_at_oldest : 1; /* it wants what is kept, however much that is, and has been told nothing yet */
    uint32_t serial;       /* of the last transient message delivered, or passed over; see struct channel */
};

struct subscriber_ops {
    /* There may be something to read, or (`is_first`) all channels are attached and the cursor is known.
     * May read, advance, block and leave; must not free the subscriber (that is for after the turn of the
     * loop). */
    void (*wake)(struct subscriber *subscriber, bool is_first);
    /* A channel cannot be attached; the subscriber has left already. */
    void (*fail)(struct subscriber *subscriber, enum error_code error);
    /* Whether it may follow a channel that is below one of its names: ERROR_NONE;
     * ERROR_TOO_MANY_CHANNELS, of which the client is told; with any other error the channel is left out.
     * NULL: all of them. */
    enum error_code (*admits)(struct subscriber *subscriber, struct text channel);
    /* subscriber_search_again has found everything. May leave. NULL for who does not wait for it. */
    void (*searched)(struct subscriber *subscriber);
};

/* Of `pending`: it has a spread (core/spread.h), which knows. */
#define SUBSCRIBER_SPREADS UINT8_MAX

struct subscriber {
    const struct subscriber_ops *ops;
    const void *
        ahead; /* what `wake` touches first, for the hub to fetch into the cache ahead of its turn; or NULL */
    struct hub *hub;
    const struct start *start; /* until all channels are attached */
    union {
        struct start *own_start; /* a copy of it, where it has to outlive the join */
        struct spread *spread;   /* of one that spreads */
    };
    uint8_t transport; /* enum transport_kind */
    bool is_blocked;   /* its client takes nothing now: not woken */
    uint8_t count;
    uint8_t pending; /* channels not yet attached, or SUBSCRIBER_SPREADS */
    bool is_resumed; /* the cursor that it came with has an entry for one of its channels */
    uint8_t policy;  /* enum subscriber_policy; set before it joins */
    /* It reads what the logs keep: transient messages are not for it, and it is not present in its channels;
     * set before it joins. */
    bool is_of_log;
    bool is_brief; /* it gets one answer, and is not to get one for a reset of NAME and CHANNEL_BELOW alone */
    /* Who it is, set before it joins, and released when it has left or could not join. NULL is nobody in
     * particular, which is enough where hub_follows none of its channels. */
    struct persona *persona;
    struct subscription *subscriptions; /* `one` or malloc'd; NULL when it has left */
    struct subscription one;
};

/* Something to tell a subscriber. */
struct delivery {
    struct subscription *subscription;
    struct message *message; /* borrowed until the thread goes back to its loop; NULL is a reset */
    enum reset_reason reset;
    uint32_t serial; /* of the subscription once this is delivered; as `offset` */
    uint64_t
        missed; /* messages, or MISSED_UNKNOWN; of a failover, how many of those that it was told are gone */
    uint64_t offset; /* of the subscription once this is delivered; before it, once advanced */
};

/* Joins the channels (each at most once, 1 to CURSOR_CHANNELS_MAX; names, or at most CURSOR_PATTERNS_MAX of
 * them wild: then also the channels below these, those that are there and those that come later). Returns why
 * it could not, and then it has not joined. `wake` with is_first follows, in this call or later. */
enum error_code subscriber_join(struct subscriber *subscriber, struct hub *hub,
                                const struct subscriber_ops *ops, enum transport_kind transport,
                                const struct text *channels, unsigned count, const struct start *start);

/* It is somebody else from now on, or says something else of itself. */
void subscriber_introduce(struct subscriber *subscriber, struct persona *persona);

/* Leaves all channels; nothing is woken afterwards. Does nothing when it has left. */
void subscriber_leave(struct subscriber *subscriber);

/* Fills `deliveries` with up to `most` things to tell, in order, without changing where the subscriber
 * stands, but for messages that newer ones replace. When it returns 0 the subscriber has everything, or
 * subscriber_is_fetching, and will be woken. */
size_t subscriber_read(struct subscriber *subscriber, struct delivery *deliveries, size_t most);

/* The subscriber has been told `delivery`; in the order of reading. */
void subscriber_advance(struct delivery *delivery);

/* Takes an advance back, in reverse order: the client did not take it after all. */
void subscriber_retreat(struct delivery *delivery);

/* There is more to read, but others shall have their turn first. */
void subscriber_yield(struct subscriber *subscriber);

/* What a subscriber gets of what came since the cursor that it named. Of several the highest is that of all.
 */
enum recovery {
    RECOVERY_NONE,  /* nothing: it named none, or none of its channels */
    RECOVERY_WHOLE, /* everything */
    RECOVERY_GAP,   /* not all: a reset is what some channel has to tell first */
};

/* To be asked once its channels are attached, before it is told anything. Only certain while nothing is being
 * fetched, which this may begin. */
enum recovery subscriber_recovery(struct subscriber *subscriber);

/* Whether something older is on its way from the broker, so that reading 0 does not mean having
 * everything. */
bool subscriber_is_fetching(const struct subscriber *subscriber);

/* The client takes nothing now: not woken until unblocked, which wakes at once. */
void subscriber_block(struct subscriber *subscriber);
void subscriber_unblock(struct subscriber *subscriber);

/* Writes the joined cursor, not terminated; at most CURSOR_TEXT_MAX bytes. Channels must be attached. */
size_t subscriber_cursor(const struct subscriber *subscriber, char *to);

/* The same with at most *room entries of channels, of which those written are taken off; more than *room only
 * when it was joined with more names. */
size_t subscriber_cursor_within(const struct subscriber *subscriber, char *to, unsigned *room);

/* Whether its cursor has several entries, so that no two subscribers need have the same. */
static inline bool subscriber_is_joined(const struct subscriber *subscriber)
{
    return subscriber->count > 1 || subscriber->pending == SUBSCRIBER_SPREADS;
}

/* How many channels a subscriber follows below its wild names. */
uint64_t subscriber_spread_count(const struct subscriber *subscriber);

/* Whether the cursor of a subscriber has an entry for each channel that it follows, and so had the one that
 * it came with. */
enum completeness {
    COMPLETENESS_PLAIN, /* it has no wild name: nobody asks */
    COMPLETENESS_WHOLE,
    COMPLETENESS_PART,
};
enum completeness subscriber_completeness(const struct subscriber *subscriber);

/* `admits` has other answers than before: what is below its wild names is looked for anew; `searched`
 * follows, in this call or later. Does nothing for others, not even that. */
void subscriber_search_again(struct subscriber *subscriber);

/* Something that a transport has made for the channel's newest message and that others of its subscribers
 * want too. The channel keeps the last one and releases it when another comes, when messages are dropped, or
 * at its own end. */
struct channel_memo {
    uint64_t from;   /* offset behind which it begins, where it is of several messages */
    uint64_t offset; /* of the message that it was made for, or of the last one */
    uint32_t serial; /* of the transient message that it was made for, or where it begins; else 0 */
    uint64_t count;  /* of messages */
    bool is_newest;  /* where it is of several messages: for subscriptions that are told the newest */
    void *value;
    void (*release)(void *value); /* also tells whose it is */
};
struct channel_memo *subscription_memo(const struct subscription *subscription);
void channel_memo_clear(struct channel_memo *memo);

/* Whether any of `count` deliveries, more than none, is transient: read together for a subscriber of one
 * channel, and not advanced yet. */
static inline bool deliveries_have_transient(const struct delivery *deliveries, size_t count)
{
    return deliveries[count - 1].serial != deliveries[0].subscription->serial;
}

/* The name of the channel that a delivery is of, and its log's epoch. */
struct text subscription_channel(const struct subscription *subscription);
const struct epoch *subscription_epoch(const struct subscription *subscription);

/* The offset of the newest message of its channel that this shard knows of. */
uint64_t subscription_top(const struct subscription *subscription);
