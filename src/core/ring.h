/* SPDX-License-Identifier: MIT */
#pragma once

/* The messages of one channel that are kept, in order of offset: the broker's log, and each shard's window on
 * it.
 *
 * Holds a reference to each message. Offsets grow and may have holes (messages that were lost upstream). One
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"

/* What is kept: whatever is over any of these goes, oldest first. */
struct retention {
    uint64_t count;
    uint64_t bytes;
    uint64_t ttl_ms;
};

/* Whether so many messages, of so many bytes together, are more than is kept. The newest is kept however
 * large it is: what was accepted is there for who asks at once. Nothing is where the count or the bytes are
 * 0. */
static inline bool retention_is_exceeded(const struct retention *retention, uint64_t count, uint64_t bytes)
{
    return count > retention->count || (bytes > retention->bytes && (count > 1 || retention->bytes == 0));
}

struct ring {
    struct message **slots; /* NULL while empty */
    size_t capacity;        /* a power of two, or 0 */
    size_t first;           /* slot of the oldest */
    size_t count;
    uint64_t bytes;         /* sum of the footprints */
    bool has_own_ttl;       /* some message may expire before those in front of it */
    uint64_t own_expiry_ms; /* then: none of these expires before this */
    uint64_t compact_ms;    /* holes are not closed before this */
};

void ring_init(struct ring *ring);

/* Drops everything. */
void ring_deinit(struct ring *ring);

/* Appends a message newer than all in the ring, taking over the caller's reference. Returns 0, or -ENOMEM
 * (and the reference stays with the caller). */
int ring_append(struct ring *ring, struct message *message);

/* The same for what is of no use in part: without memory everything goes, this message too. */
int ring_append_or_drop(struct ring *ring, struct message *message);

/* Drops the oldest while they are over the count or the bytes of `retention`. Returns how many were dropped.
 */
size_t ring_trim(struct ring *ring, const struct retention *retention);

/* Drops what has expired: what is oldest at once; between others, where closing the holes costs a walk over
 * all, the less often the larger the ring is. Returns how many were dropped. */
size_t ring_expire(struct ring *ring, uint64_t now_ms);

/* When to call ring_expire next, on clock_monotonic_ms; UINT64_MAX when the ring is empty. Takes the same
 * time whatever the ring holds. */
uint64_t ring_next_expiry_ms(const struct ring *ring);

/* Appends to `to` the messages [begin, end) of the ring that have not expired, with references of their own.
 * Returns 0, or -ENOMEM and then `to` is empty. */
int ring_copy(struct ring *to, const struct ring *ring, size_t begin, size_t end, uint64_t now_ms);

/* Drops the oldest; the ring is not empty. */
void ring_drop_oldest(struct ring *ring);

/* The message at `index`, 0 being the oldest; `index` is below the count. */
struct message *ring_at(const struct ring *ring, size_t index);

/* The index of the first message with an offset of at least `offset`; the count when there is none. */
size_t ring_find(const struct ring *ring, uint64_t offset);
