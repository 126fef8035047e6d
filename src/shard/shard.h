/* SPDX-License-Identifier: MIT */
#pragma once

/* A shard: one thread, one epoll loop, which owns its connections outright. Nothing in it is locked; other
 * threads reach it only through its mailbox. Everything here runs on the shard's thread unless it says
 * otherwise.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "auth/keys.h"
#include "auth/revoked.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/timer.h"
#include "config/options.h"
#include "core/hub.h"
#include "core/publish.h"
#include "shard/bearers.h"
#include "shard/cell.h"
#include "shard/door.h"
#include "shard/drain.h"
#include "shard/farewell.h"
#include "shard/garbage.h"
#include "shard/listener.h"
#include "shard/memory_share.h"
#include "shard/outlet.h"
#include "shard/porch.h"
#include "shard/revocations.h"
#include "shard/stream.h"
#include "shard/watch.h"
#include "tables/metrics.h"

/*   running ──► draining ──► closing ──► idle ──► stopped
 *      `────────────────────────^
 */
enum shard_state {
    SHARD_RUNNING,
    SHARD_DRAINING, /* the door is shut, held clients are let go one after another */
    SHARD_CLOSING,  /* whatever is left is cut; the channels are detached */
    SHARD_IDLE,     /* has no connection and waits for nothing, but still answers the other shards */
    SHARD_STOPPED,
};

struct passenger;

/* All shards of the process, and what they share. */
struct shard_group {
    unsigned count;
    struct shard *shards;
    struct broker *broker;
    const struct cell_handlers *handlers;
    const struct door_handlers *door_handlers;
    struct connection_limits *limits;
    struct rates *rates;
    struct memory_budget memory; /* of what connections have the server keep */
    uint64_t started_ms;         /* on clock_monotonic_ms */
    struct mailbox *home;        /* of the main thread */
    _Atomic bool
        is_succeeded; /* another process is about to serve the same addresses, or does: nobody is accepted */
    /* Main thread: gives a connection to the process that has taken this one's place (shard/passage.h); its
     * descriptor stays the caller's. */
    void (*pass_on)(struct shard_group *group, const struct passenger *passenger);
    unsigned idle_count;      /* shards that have become idle; main thread */
    _Atomic unsigned knowing; /* shards that know the revocations (shard/revocations.h) */
};

/* Whoever keeps something on a shard that no connection keeps: it is told, in each turn while the shard is
 * closing, to let go of that. Linked before the shard runs. */
struct lodger {
    struct list link;
    void (*evict)(struct lodger *lodger);
};

struct shard {
    unsigned index;
    struct shard_group *group;
    pthread_t thread;
    int epoll_fd;
    enum shard_state state;
    struct options *options; /* the snapshot in force on this shard */
    struct auth_keys *keys;  /* of the same load */
    struct revoked *revoked;
    struct revocations_desk revocations;
    struct bearer_table bearers;
    struct mailbox mailbox;
    struct watch mailbox_watch;
    struct timer_wheel wheel;
    uint64_t now_ms; /* of this turn of the loop */
    struct hub hub;
    struct publish_guard guard; /* the hub's */
    struct listener_table listeners;
    struct porch porch;
    struct door door;
    struct cell_table cells;
    struct outlet_table outlets;
    struct stream_table streams;
    struct farewell_table farewells;
    struct list lodgers;
    struct garbage *garbage;
    struct drain drain;
    uint64_t surveys_pending; /* asked from here and still on their round */
    struct shard_order {
        struct letter letter;
        struct shard *shard;
        enum shard_state to;
    } orders[SHARD_STOPPED + 1];
    struct letter idle_letter;               /* to the main thread */
    _Atomic uint64_t counters[METRIC_COUNT]; /* written by this shard, read by any thread */
};

/* Makes a shard that is not running; main thread. Takes references to the options and the keys. Returns 0 or
 * -errno. */
int shard_init(struct shard *shard, unsigned index, struct shard_group *group, struct options *options,
               struct auth_keys *keys);

/* Main thread. Returns 0 or -errno. */
int shard_start(struct shard *shard);

/* Has the shard move on; main thread, to each state at most once. DRAINING lets the clients go over the drain
 * time, then closes; CLOSING cuts what is left, and the shard is idle once its requests are answered; STOPPED
 * ends the thread of an idle shard. No shard may be stopped before all are idle, because any of them may be
 * asked by another. */
void shard_order(struct shard *shard, enum shard_state to);

/* Main thread: frees a shard whose thread has ended or was never started. */
void shard_deinit(struct shard *shard);

/* Main thread: new options and the keys that they name. Returns 0 or -ENOMEM. */
int shard_configure(struct shard *shard, struct options *options, struct auth_keys *keys);

/* Main thread: another identity for who comes by an entrance from now on. Returns 0 or -ENOMEM. */
int shard_renew(struct shard *shard, const struct entrance *entrance, struct tls_identity *identity);

/* Moves the shard on to its next state, with all that this means. */
void shard_move(struct shard *shard, enum shard_state to);

void shard_count(struct shard *shard, enum metric metric, uint64_t by);

/* The sum over all shards; any thread. */
uint64_t shard_group_sum(const struct shard_group *group, enum metric metric);

/* Frees after this turn. */
void shard_reap(struct shard *shard, struct garbage *garbage, void (*release)(struct garbage *garbage));

/* A question that goes round all shards: `visit` runs on each shard's thread in turn, then `done` on the
 * asking one. */
struct survey {
    struct letter letter;
    struct shard *asker;
    unsigned next;
    void (*visit)(struct survey *survey, struct shard *shard);
    void (*done)(struct survey *survey);
};

void shard_ask_all(struct shard *asker, struct survey *survey, void (*visit)(struct survey *, struct shard *),
                   void (*done)(struct survey *));
