/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_MEMORY_LOG_H
#define SLUICE_BROKER_MEMORY_LOG_H

/* A channel's log in memory, with the keys of recent publishes and the shards that are attached.
 * Owned by the broker's thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "base/timer.h"
#include "core/broker.h"
#include "core/ring.h"

struct attachment {
    struct mailbox *mailbox;
    struct channel *channel;
};

/* What a publish with an idempotency key was answered with. */
struct publish_key {
    UT_hash_handle hh;
    struct list link; /* in log.keys_by_age, oldest first */
    uint64_t expires_ms;
    uint64_t offset;
    int64_t time_ms;
    uint8_t len;
    char text[];
};

struct log {
    UT_hash_handle hh;
    struct list idle_link; /* in the store's list while no shard is attached, longest idle first */
    struct epoch epoch;
    uint64_t top;
    int64_t last_published_ms;
    struct ring ring;
    struct attachment *attachments;
    unsigned attachment_count;
    struct publish_key *keys;
    struct list keys_by_age;
    uint64_t keys_bytes;
    struct timer expiry;    /* the next message or key to go, or the empty log itself */
    uint64_t idle_since_ms; /* when it was last attached or published to */
    struct store *store;
    uint8_t name_len;
    char name[]; /* terminated */
};

/* All logs of a broker. */
struct store {
    struct log *logs; /* by name */
    struct list idle;
    struct timer_wheel wheel;
    struct retention retention;
    uint64_t memory_limit_bytes;
    uint64_t channel_ttl_ms;
    uint64_t idempotency_time_ms;
    uint64_t now_ms;
    uint64_t log_bytes; /* of logs and keys themselves, without their messages */
    void (*begun)(struct store *store, const struct log *log); /* a log that was not there before */
    uint64_t count;
    uint64_t message_count;
    uint64_t evicted;
};

void store_init(struct store *store);
void store_deinit(struct store *store);

/* The log of that name; NULL when there is none. */
struct log *store_find(struct store *store, const char *name, size_t len);

/* The same, made if need be; NULL when memory is out. */
struct log *store_get(struct store *store, const char *name, size_t len);

/* Frees a log to which no shard is attached. */
void store_drop(struct log *log);

/* Makes room by dropping the longest idle logs, but not `but`. Returns whether memory is within the limit. */
bool store_make_room(struct store *store, const struct log *but);

/* The offset of the oldest message kept; top + 1 if none. */
uint64_t log_oldest(const struct log *log);

/* Appends, taking over the reference, and trims. Returns 0 or -ENOMEM. */
int log_append(struct log *log, struct message *message);

/* Drops all messages and begins a new epoch. Returns how many were dropped. */
size_t log_purge(struct log *log);

/* What the key was answered with before; NULL if it is new. */
const struct publish_key *log_find_key(struct log *log, const char *key, size_t len);
int log_remember_key(struct log *log, const char *key, size_t len, const struct message *message);

int log_attach(struct log *log, struct mailbox *mailbox, struct channel *channel);
void log_detach(struct log *log, const struct mailbox *mailbox, const struct channel *channel);

#endif
