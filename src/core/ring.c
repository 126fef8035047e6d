/* SPDX-License-Identifier: MIT */
#include "core/ring.h"

#include <errno.h>
#include <stdlib.h>

#include "base/number.h"

#define RING_CAPACITY_FIRST 4u
/* Walking over so many messages takes some microseconds: a millisecond for each of these keeps it to the odd
 * percent of a processor. */
#define RING_COMPACT_PER_MS 256u

void ring_init(struct ring *ring)
{
    *ring = (struct ring){0};
}

void ring_deinit(struct ring *ring)
{
    while (ring->count > 0)
        ring_drop_oldest(ring);
    free(ring->slots);
    ring_init(ring);
}

struct message *ring_at(const struct ring *ring, size_t index)
{
    return ring->slots[(ring->first + index) & (ring->capacity - 1)];
}

static int ring_resize(struct ring *ring, size_t capacity)
{
    size_t bytes;
    if (__builtin_mul_overflow(capacity, sizeof(struct message *), &bytes))
        return -ENOMEM;
    struct message **slots = malloc(bytes);
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < ring->count; i++)
        slots[i] = ring_at(ring, i);
    free(ring->slots);
    ring->slots = slots;
    ring->capacity = capacity;
    ring->first = 0;
    return 0;
}

static int ring_make_room(struct ring *ring)
{
    if (ring->count < ring->capacity)
        return 0;
    return ring_resize(ring, ring->capacity ? ring->capacity * 2 : RING_CAPACITY_FIRST);
}

static void ring_note_own_ttl(struct ring *ring, const struct message *message)
{
    if (message->ttl_ms == 0)
        return;
    if (!ring->has_own_ttl || message->expires_ms < ring->own_expiry_ms)
        ring->own_expiry_ms = message->expires_ms;
    ring->has_own_ttl = true;
}

int ring_append(struct ring *ring, struct message *message)
{
    int err = ring_make_room(ring);
    if (err)
        return err;
    ring->slots[(ring->first + ring->count) & (ring->capacity - 1)] = message;
    ring->count++;
    ring->bytes += message->footprint;
    ring_note_own_ttl(ring, message);
    return 0;
}

int ring_append_or_drop(struct ring *ring, struct message *message)
{
    int err = ring_append(ring, message);
    if (err) {
        message_unref(message);
        ring_deinit(ring);
    }
    return err;
}

void ring_drop_oldest(struct ring *ring)
{
    struct message *message = ring_at(ring, 0);
    ring->first = (ring->first + 1) & (ring->capacity - 1);
    ring->count--;
    ring->bytes -= message->footprint;
    message_unref(message);
}

static void ring_release_if_empty(struct ring *ring)
{
    /* A channel that was busy once gives its slots back. */
    if (ring->count > 0)
        return;
    free(ring->slots);
    ring_init(ring);
}

size_t ring_trim(struct ring *ring, const struct retention *retention)
{
    size_t before = ring->count;
    while (retention_is_exceeded(retention, ring->count, ring->bytes))
        ring_drop_oldest(ring);
    size_t dropped = before - ring->count;
    ring_release_if_empty(ring);
    return dropped;
}

/* Closes the holes that messages with a shorter life of their own leave. */
static void ring_compact(struct ring *ring, uint64_t now_ms)
{
    size_t kept = 0;
    ring->has_own_ttl = false;
    for (size_t i = 0; i < ring->count; i++) {
        struct message *message = ring_at(ring, i);
        if (message->expires_ms <= now_ms) {
            ring->bytes -= message->footprint;
            message_unref(message);
            continue;
        }
        ring_note_own_ttl(ring, message);
        ring->slots[(ring->first + kept++) & (ring->capacity - 1)] = message;
    }
    ring->count = kept;
    ring->compact_ms = now_ms + kept / RING_COMPACT_PER_MS;
}

size_t ring_expire(struct ring *ring, uint64_t now_ms)
{
    size_t before = ring->count;
    if (ring->has_own_ttl && ring->own_expiry_ms <= now_ms && ring->compact_ms <= now_ms)
        ring_compact(ring, now_ms);
    while (ring->count > 0 && ring_at(ring, 0)->expires_ms <= now_ms)
        ring_drop_oldest(ring);
    size_t dropped = before - ring->count;
    ring_release_if_empty(ring);
    return dropped;
}

uint64_t ring_next_expiry_ms(const struct ring *ring)
{
    if (ring->count == 0)
        return UINT64_MAX;
    uint64_t next_ms = ring_at(ring, 0)->expires_ms;
    if (!ring->has_own_ttl)
        return next_ms;
    uint64_t own_ms = number_greater(ring->own_expiry_ms, ring->compact_ms);
    return own_ms < next_ms ? own_ms : next_ms;
}

int ring_copy(struct ring *to, const struct ring *ring, size_t begin, size_t end, uint64_t now_ms)
{
    for (size_t i = begin; i < end; i++) {
        struct message *message = ring_at(ring, i);
        if (message->expires_ms <= now_ms)
            continue;
        int err = ring_append_or_drop(to, message_ref(message));
        if (err)
            return err;
    }
    return 0;
}

size_t ring_find(const struct ring *ring, uint64_t offset)
{
    size_t low = 0;
    size_t high = ring->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring_at(ring, middle)->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
