/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_STATE_H
#define SLUICE_BROKER_REDIS_STATE_H

/* What the Redis broker knows: its servers, the channels that this node has attached, and the calls on their
 * way. Everything belongs to the broker's thread, except what is marked as atomic.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock_offset.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/table.h"
#include "base/timer.h"
#include "broker/redis/link.h"
#include "broker/redis/url.h"
#include "core/broker.h"
#include "core/ring.h"

struct options;
struct redis_broker;

#define REDIS_LIMITS_MAX 96u
#define REDIS_REFUSALS 16u

#define REDIS_SLOTS 16384u
#define REDIS_NODE_LEN 8u
#define REDIS_REPLID_LEN 40u
#define REDIS_RUNS_MAX (URL_ADDRESSES_MAX * (REDIS_REPLID_LEN + 1u))

/* A server: one Redis that keeps logs, with a connection for commands and one for subscriptions. Both live
 * and die together, so that "subscribe first, then read" is the one way back from any loss.
 *
 *   down --timer--> asking (the Sentinels who the master is) --answer--> connecting --hello--> up --probe
 * seen--> sound
 *     ^--------------------------- any fault of either link --------------------------------------'
 */
enum server_state { SERVER_DOWN, SERVER_ASKING, SERVER_CONNECTING, SERVER_UP, SERVER_SOUND };

struct server {
    struct list link; /* in broker.servers */
    struct redis_broker *broker;
    uint64_t id; /* never given again */
    enum server_state state;
    char *address;
    bool is_unix;
    bool is_leaving;      /* the Cluster does not know it any more */
    struct link commands; /* two links, and one to a Sentinel while it is asked */
    struct link feed;
    struct link sentinel;
    unsigned sentinel_index; /* which one is asked next */
    struct timer timer;      /* to connect again; while up, to see whether the feed is silent */
    uint64_t backoff_ms;
    uint64_t probe_sent_ms; /* 0 when no probe is under way */
    bool is_saying_probe;   /* it is still on its way to Redis */
    char probe[64];         /* the probe's own Pub/Sub channel */
    char told[LINK_FAULT_MAX];
    char replid[REDIS_REPLID_LEN + 1];
    char run[REDIS_REPLID_LEN + 1];      /* of the process */
    char last_run[REDIS_REPLID_LEN + 1]; /* of the process that last_client_id is of */
    char script[REDIS_REPLID_LEN + 1];   /* SHA-1 of the script, without functions */
    unsigned version;                    /* 70015 is 7.0.15 */
    bool has_sharded;                    /* Redis 7: sharded Pub/Sub */
    bool has_functions;                  /* Redis 7: functions; otherwise scripts */
    bool is_cluster;
    bool has_cause;  /* what broke it was found out here, not by the socket */
    bool was_warned; /* of an eviction policy */
    bool is_greeted;
    bool feed_is_ready;
    bool has_bridge;          /* plain Pub/Sub is subscribed to here */
    long long client_id;      /* of the command link */
    long long last_client_id; /* of the one before, which may still have commands to be executed */
    unsigned replies_due;     /* of the hello on the feed link */
    struct list lost;         /* publications whose answer was lost, in order */
    bool is_finding;          /* what became of them */
    struct clock_offset clock;
};

/* A channel that some shard of this node has attached.
 *
 *   idle --subscribe--> subscribing --confirmed--> opening --answer--> live --last one leaves--> leaving -->
 * freed
 *
 * On any loss of the server it goes back to idle with what it knows. A bridged channel is live at once: its
 * log is here.
 */
enum topic_state { TOPIC_IDLE, TOPIC_SUBSCRIBING, TOPIC_OPENING, TOPIC_LIVE, TOPIC_LEAVING };

struct topic {
    UT_hash_handle hh;
    struct redis_broker *broker;
    struct server *server; /* where it is subscribed; NULL when idle */
    enum topic_state state;
    bool is_bridged;
    bool has_log;  /* epoch, top and oldest are known */
    bool has_hole; /* something newer than top + 1 was heard of, and not filled yet */
    bool is_gap;   /* a hole is being filled */
    uint8_t futile_opens;
    struct epoch epoch;
    struct ancestry ancestry;
    uint64_t top;
    uint64_t oldest;
    int64_t last_published_ms;
    int64_t ahead_ms;  /* of the clock that the messages' times are of, at most; see struct attach_request */
    struct ring ring;  /* the newest messages, without holes */
    struct ring early; /* heard of while opening or filling a hole, of the log `early_epoch` */
    struct epoch early_epoch;
    struct open *open; /* the call under way that asks for what is new; NULL when none */
    struct attachment *attachments;
    unsigned attachment_count;
    struct mpsc_node *waiting; /* attach requests, linked by their letters' nodes */
    struct timer timer;        /* to compare with Redis, or to try again */
    uint16_t slot;
    uint8_t name_len;
    char name[]; /* terminated */
};

struct attachment {
    struct mailbox *mailbox;
    struct channel *channel;
};

/* A call of a function of sluice.lua, or a plain command, that goes to where its slot is. */
struct call {
    struct command command;
    struct redis_broker *broker;
    struct server *server; /* that it was sent to */
    uint16_t slot;
    uint8_t key_count; /* keys that the command declares */
    uint8_t redirects;
    uint8_t retries;
    struct timer timer; /* while Redis wants to be tried again */
    bool is_reloaded;   /* the functions were gone, and have been loaded for this call */
    bool is_anywhere;   /* not bound to the slot's server: answers about one server */
    /* Once: `reply` is NULL when the link broke or there was nobody to send it to. Frees the call. */
    void (*done)(struct call *call, const struct redisReply *reply);
};

/* What Redis refuses, as the operator was told. */
struct refusal {
    char reason[LINK_FAULT_MAX];
    uint64_t told_ms; /* 0 when never */
};

struct redis_broker {
    struct broker super;
    struct mailbox mailbox;
    pthread_t thread;
    bool is_started;
    bool is_cut; /* without servers, whatever is asked is refused */
    bool is_stopping;
    struct letter cut;
    struct letter stop;
    struct options *options;
    char limits[REDIS_LIMITS_MAX]; /* what of the options sluice.lua wants with every call */
    struct url url;
    int epoll_fd;
    struct timer_wheel wheel;
    struct link_set links;
    uint64_t now_ms;
    char node[REDIS_NODE_LEN + 1]; /* this process, in marks and in probes */
    uint64_t marks;                /* given to publications so far */
    struct list servers;
    uint64_t server_count;             /* made so far */
    struct server *slots[REDIS_SLOTS]; /* without a Cluster all the same; NULL where unknown */
    bool is_cluster;
    bool is_asking_slots;
    uint64_t slots_asked_ms;
    struct timer slots_timer;
    struct topic *topics;
    struct list watches;
    uint64_t message_count;                  /* in the rings of all topics */
    struct refusal refusals[REDIS_REFUSALS]; /* that were told lately */
    struct list bridged_publications;
    char **bridges; /* names and patterns of redis-subscribe */
    size_t bridge_count;
    bool was_bridged; /* a bridge stood before, so that a new one may have missed something */
    _Atomic bool is_ready;
};

#endif
