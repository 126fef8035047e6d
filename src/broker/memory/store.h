/* SPDX-License-Identifier: MIT */
#pragma once

/* All logs of the memory broker, found and listed through one ordered index that never rehashes (JudySL).
 *
 * Whoever calls holds the broker's lock. What takes long in sum is done in slices of STORE_SLICE steps, a
 * step being a message, a key, a log or a timer, so that no call depends on how much there is.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/text.h"
#include "base/timer.h"
#include "config/channel_options.h"
#include "core/names.h"
#include "core/ring.h"

struct log;

#define STORE_SLICE 256u

/* Logs that are found without the index: the last of each length of a name, so that all those of a message
 * below trees have a place of their own. */
#define STORE_RECENT 32u

/* What a log keeps, how long it is remembered empty, and a key of it; and which trees are above it. */
struct log_limits {
    struct retention retention;
    uint64_t channel_ttl_ms;
    uint64_t idempotency_time_ms;
    struct channel_trees trees;
    bool has_too_many_trees; /* then `trees` says nothing */
};

struct store {
    void *logs;                       /* JudySL: by name */
    struct log *recent[STORE_RECENT]; /* by the length of the name, modulo; of those in `logs`, or NULL */
    struct list idle;                 /* logs that no shard has attached, longest idle first */
    struct list empty;                /* the same, of those that keep nothing */
    struct list trash;                /* logs that are no more, to be freed message by message */
    struct timer_wheel wheel;
    uint64_t memory_limit_bytes;
    uint64_t channels_most; /* 0 is no limit */
    uint64_t now_ms;
    /* Finds what holds for a log of that name. */
    void (*limit)(const struct store *store, struct text name, struct log_limits *limits);
    uint32_t generation; /* of what `limit` says */
    bool is_renewing;    /* logs behind `renewed` may have the limits of an older one */
    char renewed[CHANNEL_NAME_MAX + 1];
    uint64_t log_bytes; /* of logs and keys themselves, without their messages */
    /* There is a log that was not there before. Returns 0, or -ENOMEM when there may not be. */
    int (*begun)(struct store *store, const struct log *log);
    /* A log is dropped, whose time is over or whose room is wanted. */
    void (*forgotten)(struct store *store, struct text name);
    uint64_t count;
    uint64_t message_count;
    uint64_t evicted;
    uint64_t discarded; /* logs that have left the store: with another number a pointer to one may be stale */
    unsigned steps;     /* left in this slice */
};

void store_init(struct store *store);
void store_deinit(struct store *store);

/* The log of that name; NULL when there is none. */
struct log *store_find(struct store *store, const char *name, size_t len);

/* The same, made if need be; NULL when memory is out. */
struct log *store_get(struct store *store, const char *name, size_t len);

/* The first log whose name is greater than `name`, or with `is_included` the same; its name is written to
 * `name`. NULL when there is none. */
struct log *store_next(const struct store *store, char name[CHANNEL_NAME_MAX + 1], bool is_included);

/* Takes a log that no shard has attached out of the store; it is freed in slices. */
void store_drop(struct log *log);

/* Puts an empty log with a new epoch in the place of `log`, which is dropped; those who have it attached have
 * the new one attached. Returns it, or NULL when memory is out. */
struct log *store_purge(struct log *log);

/* Makes room by dropping the longest idle logs, but not that of the name. Returns 0 when memory is within the
 * limit, -EAGAIN when another slice is needed, -ENOSPC when nothing more can go. */
int store_make_room(struct store *store, const char *but, size_t but_len);

/* `limit` says something else than before: each log asks it anew, before it is used and, in slices, in the
 * end. */
void store_renew_limits(struct store *store);

/* Lines up the logs that nobody uses by since when, after they were restored in another order; without memory
 * for that they stay as they are. */
void store_sort_idle(struct store *store);

/* Whether there may be a log of the name: it is there, or there may be one more, for which an empty one that
 * nobody uses goes. */
bool store_admit(struct store *store, const char *name, size_t len);

/* Does a slice of what is due. Returns whether there is more. */
bool store_tend(struct store *store);
