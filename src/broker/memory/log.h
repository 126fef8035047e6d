/* SPDX-License-Identifier: MIT */
#pragma once

/* A channel's log in memory, with the keys of recent publishes and the shards that are attached. Whoever
 * calls holds the broker's lock.
 *
 * Those of its messages with a shorter life than the others are also found by when it ends.
 */

#include <stdbool.h>
#include <stdint.h>

#include "broker/memory/shelf.h"
#include "broker/memory/store.h"
#include "core/broker.h"

/* A page of a log has at most so many messages. */
#define LOG_PAGE_MOST 1024u

/* What a publish with an idempotency key was answered with. */
struct publish_key {
    struct list link; /* in log.keys_by_age, oldest first */
    uint64_t expires_ms;
    uint64_t offset;
    int64_t time_ms;
    uint8_t len;
    char text[]; /* terminated */
};

struct log {
    struct list link; /* in one of the store's lists of idle logs, or in its trash */
    struct epoch epoch;
    uint64_t top;
    int64_t last_published_ms;
    struct shelf messages; /* one reference each */
    void *lives;           /* JudyL: offsets of those with a shorter life than the others', by its end */
    uint64_t count;
    uint64_t bytes; /* sum of the footprints */
    struct attachments attachments;
    void *keys; /* JudySL: struct publish_key by text */
    struct list keys_by_age;
    struct timer expiry;    /* the next message or key to go, or the empty log itself */
    uint64_t due_ms;        /* of the timer while it is armed */
    uint64_t idle_since_ms; /* when it was last attached or published to */
    struct log_limits limits;
    struct store *store;
    uint32_t generation; /* of the limits */
    uint8_t name_len;
    char name[]; /* terminated */
};

/* An empty log that is not in the store; NULL when memory is out. */
struct log *log_new(struct store *store, const char *name, size_t len);

/* Frees one message or key of a log that is not in the store, or at last the log. */
void log_free_step(struct log *log);

/* Finds its limits anew, if the store has other ones by now. */
void log_renew_limits(struct log *log);

/* It is used now. */
void log_touch(struct log *log);

/* Arms the timer for what goes next. */
void log_arm_expiry(struct log *log);

/* The offset of the oldest message kept; top + 1 if none. */
uint64_t log_oldest(const struct log *log);

struct log_state log_state(const struct log *log);
void log_inspect(const struct log *log, struct inspection *inspection);

/* Makes room for the next message, so that appending it cannot fail; it is appended or released before
 * anything else is done with the log. Returns 0 or -ENOMEM. */
int log_reserve(struct log *log);
void log_release(struct log *log);

/* Appends, taking over the reference, and trims. Returns 0 or -ENOMEM. */
int log_append(struct log *log, struct message *message);

/* Gives `ring` the messages [from, to] that have not expired, LOG_PAGE_MOST offsets at most: then `to`
 * becomes less. Returns 0 or -ENOMEM. */
int log_copy(const struct log *log, uint64_t from, uint64_t *to, struct ring *ring);

/* What the key was answered with before; NULL if it is new. To be remembered it must be; returns 0 or
 * -ENOMEM. */
const struct publish_key *log_find_key(struct log *log, const char *key, size_t len);
int log_remember_key(struct log *log, const char *key, size_t len, uint64_t offset, int64_t time_ms);
void log_forget_key(struct log *log, const char *key, size_t len);

/* Puts messages and keys, oldest first, into a log that nobody uses yet and whose top is set, as they stood
 * in another process; log_restored ends that. log_restore takes over the reference and returns 0; or -EINVAL
 * for an offset that is not behind the last one, or behind the top, or -ENOMEM. */
int log_restore(struct log *log, struct message *message, uint64_t offset, uint64_t left_ms);
int log_restore_key(struct log *log, struct text key, uint64_t offset, int64_t time_ms, uint64_t left_ms);
void log_restored(struct log *log);

int log_attach(struct log *log, const struct attach_request *request);
void log_detach(struct log *log, const struct attach_request *request);
