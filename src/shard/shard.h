/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_SHARD_H
#define SLUICE_SHARD_SHARD_H

/* A shard: one thread, one epoll loop, which owns its connections outright. Nothing in it is locked; other
 * threads reach it only through its mailbox. Everything here runs on the shard's thread unless it says
 * otherwise.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "base/timer.h"
#include "config/options.h"
#include "core/hub.h"
#include "shard/cell.h"
#include "shard/door.h"
#include "shard/garbage.h"
#include "shard/stream.h"
#include "shard/watch.h"
#include "tbl/metrics.h"

enum shard_state {
    SHARD_RUNNING,
    SHARD_DRAINING, /* the door is shut, held clients are let go one after another */
    SHARD_CLOSING,  /* whatever is left is cut; the channels are detached */
    SHARD_STOPPED,
};

/* All shards of the process, and what they share. */
struct shard_group {
    unsigned count;
    struct shard *shards;
    struct broker *broker;
    const struct cell_handlers *handlers;
    const struct door_handlers *door_handlers;
    struct connection_limits *limits;
    uint64_t started_ms; /* on clock_monotonic_ms */
};

struct shard {
    unsigned index;
    struct shard_group *group;
    pthread_t thread;
    int epoll_fd;
    enum shard_state state;
    struct options *options; /* the snapshot in force on this shard */
    struct mailbox mailbox;
    struct watch mailbox_watch;
    struct timer_wheel wheel;
    uint64_t now_ms; /* of this turn of the loop */
    struct hub hub;
    struct door door;
    struct cell_table cells;
    struct stream_table streams;
    struct garbage *garbage;
    struct timer drain_timer;
    uint64_t drain_begin_ms;
    uint64_t drain_held;                     /* how many were held when draining began */
    uint64_t drain_ended;                    /* how many of them have been let go */
    uint64_t surveys_pending;                /* asked from here and still on their round */
    _Atomic uint64_t counters[METRIC_COUNT]; /* written by this shard, read by any thread */
};

/* Makes a shard that is not running; main thread. Takes a reference to the options. Returns 0 or -errno. */
int shard_init(struct shard *shard, unsigned index, struct shard_group *group, struct options *options);

/* Main thread. Returns 0 or -errno. */
int shard_start(struct shard *shard);

/* Main thread: lets the clients go within `drain_ms`; a second call with 0 cuts what is left. */
void shard_stop(struct shard *shard, uint64_t drain_ms);

/* Main thread: frees a shard whose thread has ended or was never started. */
void shard_deinit(struct shard *shard);

/* Main thread: new options. Returns 0 or -ENOMEM. */
int shard_configure(struct shard *shard, struct options *options);

/* The shard whose thread this is. */
struct shard *shard_current(void);

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

#endif
