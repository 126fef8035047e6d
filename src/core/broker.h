/* SPDX-License-Identifier: MIT */
#pragma once

/* The interface towards the engine that owns the channel logs. A shard cannot tell which engine it talks to.
 *
 * A shard fills a request and submits it (hub_submit). The broker answers it in that call, or sends it back
 * through the shard's mailbox, once, when it is done; until then it is the broker's. Everything fed to one
 * mailbox for one channel arrives in the order in which the log has it, and a publish is fed to all attached
 * shards before it is answered. An answer in the call comes before what has been fed and not yet delivered.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/container.h"
#include "base/mailbox.h"
#include "core/ancestry.h"
#include "core/epoch.h"
#include "core/message.h"
#include "core/names.h"
#include "core/persona.h"
#include "core/revocation.h"
#include "core/ring.h"
#include "tables/errors.h"
#include "tables/metrics.h"
#include "tables/resets.h"

struct handover;
struct hub;
struct options;

enum broker_operation {
    BROKER_PUBLISH, /* struct publish_request */
    BROKER_ATTACH,  /* struct attach_request */
    BROKER_DETACH,  /* struct attach_request; after the answer, which is never in the call, nothing is fed */
    BROKER_HISTORY, /* struct history_request */
    BROKER_PURGE, /* struct inspect_request; `messages` is how many were dropped, and nothing else is told */
    BROKER_INSPECT, /* struct inspect_request */
    BROKER_LIST,    /* struct list_request */
    BROKER_WATCH, /* struct watch_request: names below a prefix are told, before the answer and ever after */
    BROKER_UNWATCH, /* struct watch_request; after the answer, never in the call, nothing more is told */
    BROKER_LISTEN,  /* struct listen_request: revocations are told, those that are kept, then `complete`, and
                       all later ones; an engine that answers in the call has kept none, nor tells `complete`
                     */
    BROKER_REVOKE,  /* struct revoke_request; answered when it is kept and all shards of this process are told
                     */
    BROKER_PRESENCE, /* struct presence_request: somebody comes, changes or goes */
    BROKER_ROSTER,   /* struct roster_request */
};

struct broker_request {
    struct letter letter; /* first: the request is its own answer */
    enum broker_operation operation;
    enum error_code error; /* set by the broker; ERROR_NONE when done */
    struct mailbox *reply_to;
    struct hub *hub; /* of the shard that submitted it; not the broker's to look at */
    void (*done)(struct broker_request *request);
};

/* One message to publish and what became of it. */
struct publish_item {
    char *channel; /* malloc'd, owned */
    uint8_t channel_len;
    uint8_t key_len;
    uint8_t type;           /* enum message_type: as sent, or as kept where that differs */
    bool is_transient;      /* nothing of it is kept: `offset` is the log's top, the place to go on from */
    bool is_duplicate;      /* the key was known: `id` and `time_ms` are those of the first publish */
    enum error_code error;  /* ERROR_NONE when accepted */
    uint32_t retry_after_s; /* of an error that is over then; 0 when nobody knows */
    const char
        *key; /* idempotency key (no message_key), in the same allocation as the channel; NULL if none */
    struct message *message; /* one reference, taken by the broker; NULL when refused before it came so far */
    struct epoch epoch;
    uint64_t offset;
    int64_t time_ms;
};

struct publish_request {
    struct broker_request super;
    size_t count;
    struct publish_item *items;
    /* The broker's own, until the answer: */
    size_t remaining;
    void *known;
};

/* The shard's side of an attached channel; the broker only hands it back. */
struct channel;

#define ATTACH_AT_ONCE INT64_MAX

/* Where a log stands. */
struct log_state {
    struct epoch epoch;
    struct ancestry ancestry;
    uint64_t top;    /* offset of the newest message ever, 0 if none */
    uint64_t oldest; /* offset of the oldest message kept, top + 1 if none */
};

struct attach_request {
    struct broker_request super;
    struct channel *channel;
    struct text name;    /* belongs to the channel, which outlives the attachment */
    uint64_t tail_count; /* how many messages of the tail are wanted at most */
    /* Answer to an attach: */
    struct log_state log;
    struct ring tail; /* the newest messages */
    /* By how much the clock of the messages' times is ahead of clock_monotonic_ms, at most. Left at
     * ATTACH_AT_ONCE by a broker that takes requests in the order in which they are submitted: what such an
     * answer tells of came before the request. */
    int64_t ahead_ms;
};

struct history_request {
    struct broker_request super;
    struct text name;
    uint64_t
        from; /* offsets wanted, both ends included; `to` below `from` only asks for the answer's numbers */
    uint64_t to;
    /* Answer; `to` may have become less, where a page would have been too large: */
    struct log_state log;
    struct ring messages;
};

/* What is told of a channel. */
struct inspection {
    char name[CHANNEL_NAME_MAX + 1];
    size_t name_len;
    struct epoch epoch;
    uint64_t messages;
    uint64_t bytes;
    uint64_t oldest;
    uint64_t top;
    int64_t last_published_ms; /* 0 when never */
};

struct inspect_request {
    struct broker_request super;
    struct inspection channel; /* of which the name is given */
};

struct list_request {
    struct broker_request super;
    char prefix[CHANNEL_NAME_MAX + 1];
    char after[CHANNEL_NAME_MAX + 1]; /* only names greater than this; empty is from the first */
    size_t limit;
    /* Answer, by name: */
    size_t count;
    bool has_more;
    struct inspection *entries; /* malloc'd, the receiver frees */
};

/* The shard's side of a watch; the broker only hands it back. */
struct watcher;

struct watch_request {
    struct broker_request super;
    struct watcher *watcher;
    const char *prefix; /* belongs to the watcher; ends with a slash */
    size_t prefix_len;
    void *known; /* the broker's own, from the watch to the unwatch */
};

struct listen_request {
    struct broker_request super;
    struct revocation_listener *listener; /* outlives the broker */
};

struct revoke_request {
    struct broker_request super;
    struct revocation revocation; /* its text is in `text` */
    char text[REVOCATION_TEXT_MAX];
};

enum presence_step { PRESENCE_JOIN, PRESENCE_UPDATE, PRESENCE_LEAVE };

struct roster_member;
struct roster_room;

/* The same one from the join to the leave. */
struct presence_request {
    struct broker_request super;
    enum presence_step step;
    uint8_t transport;       /* enum transport_kind */
    struct text channel;     /* belongs to the request */
    struct persona *persona; /* the request's; NULL is nobody in particular */
    /* The broker's own (core/roster.h): */
    struct roster_room *room;
    struct roster_member *member; /* NULL for one who is counted only */
};

/* Who is present in a channel. */
struct roster_request {
    struct broker_request super;
    char channel[CHANNEL_NAME_MAX + 1];
    char
        after[PERSONA_NAME_MAX + 1]; /* only names greater than this, byte by byte; empty is from the first */
    size_t limit;
    /* Answer, by name: */
    struct buf members; /* objects with commas between; the receiver's to free */
    bool has_more;
    char last[PERSONA_NAME_MAX + 1]; /* behind which it goes on then */
    uint64_t count;                  /* of all members */
    uint64_t anonymous;              /* connections of nobody in particular */
};

/* What a broker posts to the mailbox of an attached shard: a message, or that the log is another one. */
struct feed {
    struct letter letter;
    struct channel *channel;
    struct message *message; /* one reference; NULL when the log is now `log` */
    /* Why; RESET_NONE when it goes on under another epoch, and its ancestry says how much is left of the one
     * that it had. */
    enum reset_reason reason;
    struct log_state log; /* not there behind a message */
};

/* The shards that have a channel attached, for a broker to keep. */
struct attachment {
    struct mailbox *mailbox;
    struct channel *channel;
};

struct attachments {
    struct attachment *items;
    unsigned count;
};

/* Upper bounds of the latency histogram's buckets; the last bucket is what is above all. */
#define BROKER_LATENCY_BOUNDS_US 100, 250, 500, 1000, 2500, 5000, 10000, 50000, 250000, 1000000
#define BROKER_LATENCY_BUCKETS 11u

struct broker;

#define BROKER_FAULT_MAX 512u

/* Main thread. */
struct broker_handover {
    /* Nothing changes any more in what is kept, and whoever wants that is refused; or all goes on as before.
     * People may be `away_ms` on their way to the next process. */
    void (*freeze)(struct broker *broker, bool is_frozen, uint64_t away_ms);
    /* Appends the next records of what is kept, `most` bytes or one record more. Returns 1 when there is
     * more, 0 when that was all, or -ENOMEM. */
    int (*give)(struct broker *broker, struct buf *to, size_t most);
    /* Takes the next record (hostile) of another process, before any shard runs. Returns 0, or -errno with
     * `fault` a sentence. */
    int (*take)(struct broker *broker, const struct handover *record, char fault[BROKER_FAULT_MAX]);
    /* No more records come. What has come is dropped unless it `is_good`. */
    void (*end_taking)(struct broker *broker, bool is_good);
};

struct broker_ops {
    const char *scheme;
    /* Any thread. Returns whether the request is answered already; otherwise the broker takes it, and
     * broker_answer gives it back. */
    bool (*submit)(struct broker *broker, struct broker_request *request);
    /* One shard's thread: does a slice of what is due by time, and returns in how many milliseconds it wants
     * to be called again. NULL for an engine with a thread of its own. */
    uint64_t (*tend)(struct broker *broker);
    /* Main thread: new options; the broker takes a reference. Returns 0, or -EINVAL or -ENOMEM with `fault` a
     * sentence, and nothing has changed. */
    int (*configure)(struct broker *broker, struct options *options, char fault[BROKER_FAULT_MAX]);
    /* Any thread. */
    bool (*is_ready)(struct broker *broker);
    /* Main thread: answers what was submitted, and from now on whatever is, without waiting for anybody. NULL
     * for an engine that never waits. */
    void (*cut)(struct broker *broker);
    /* How what it keeps is told to another process; NULL for an engine that keeps nothing itself. */
    const struct broker_handover *handover;
    /* Ends and frees. Everything submitted was answered, and no shard submits any more. */
    void (*stop)(struct broker *broker);
};

struct broker {
    const struct broker_ops *ops;
    /* Written by the broker, read by any thread; what an engine does not have is 0. */
    _Atomic uint64_t counters[METRIC_COUNT];
    _Atomic uint64_t latency[BROKER_LATENCY_BUCKETS]; /* commands by how long they took */
    _Atomic uint64_t latency_sum_us;
};

/* For brokers: counts before anybody can learn of it by an answer or a message. */
static inline void broker_count(struct broker *broker, enum metric metric, int64_t by)
{
    atomic_fetch_add_explicit(&broker->counters[metric], (uint64_t)by, memory_order_relaxed);
}

static inline void broker_show(struct broker *broker, enum metric metric, uint64_t value)
{
    atomic_store_explicit(&broker->counters[metric], value, memory_order_relaxed);
}

/* For brokers: sends a request back that was not answered in the call. */
void broker_answer(struct broker_request *request, enum error_code error);

/* For brokers: adds the shard's channel that a request attaches. Returns 0 or -ENOMEM. */
int attachments_add(struct attachments *attachments, const struct attach_request *request);
void attachments_remove(struct attachments *attachments, const struct attach_request *request);

/* For brokers: letters to all attached shards, linked by `next`, had before what they will tell is done, so
 * that telling it cannot fail. Of `what` only counts whether it is a message. Returns 0 or -ENOMEM. */
int broker_reserve_feeds(struct letter **letters, const struct attachments *to, const struct feed *what);
void broker_release_feeds(struct letter *letters);

/* For brokers: posts them; each takes a reference to the message. */
void broker_post_feeds(struct letter *letters, const struct attachments *to, const struct feed *what);

/* For brokers: both at once. Returns 0, or -ENOMEM and nobody is told. */
int broker_feed(const struct attachments *to, const struct feed *what);

/* For brokers: tells a watcher of a channel, unless that is a reserved one and the prefix is not. Returns 0
 * or -ENOMEM. */
int broker_tell_name(struct mailbox *mailbox, struct watcher *watcher, const char *name, size_t len,
                     bool is_new);
