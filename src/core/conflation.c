/* SPDX-License-Identifier: MIT */
#include "core/conflation.h"

#include <stdlib.h>

#define CONFLATION_CAPACITY_FIRST 16u

void conflation_deinit(struct conflation *conflation)
{
    free(conflation->entries);
    *conflation = (struct conflation){0};
}

/* The entry of that key, or the free one where it would stand; there is always a free one. */
static struct conflation_entry *conflation_find(const struct conflation *conflation, uint64_t hash)
{
    size_t at = hash & (conflation->capacity - 1);
    while (conflation->entries[at].offset != 0 && conflation->entries[at].hash != hash)
        at = (at + 1) & (conflation->capacity - 1);
    return &conflation->entries[at];
}

/* Puts those from `oldest` on into a table with room for as many again. */
static void conflation_rebuild(struct conflation *conflation, uint64_t oldest)
{
    struct conflation next = {.capacity = CONFLATION_CAPACITY_FIRST};
    size_t kept = 0;
    for (size_t i = 0; i < conflation->capacity; i++)
        kept += conflation->entries[i].offset >= oldest;
    while (next.capacity < 4 * (kept + 1))
        next.capacity *= 2;
    next.entries = calloc(next.capacity, sizeof(*next.entries));
    for (size_t i = 0; next.entries && i < conflation->capacity; i++) {
        const struct conflation_entry *entry = &conflation->entries[i];
        if (entry->offset == 0 || entry->offset < oldest)
            continue;
        *conflation_find(&next, entry->hash) = *entry;
        next.count++;
    }
    conflation_deinit(conflation);
    if (next.entries)
        *conflation = next;
}

void conflation_note(struct conflation *conflation, uint64_t hash, uint64_t offset, uint64_t oldest)
{
    if (2 * (conflation->count + 1) > conflation->capacity)
        conflation_rebuild(conflation, oldest > 0 ? oldest : 1);
    if (!conflation->entries)
        return;
    struct conflation_entry *entry = conflation_find(conflation, hash);
    conflation->count += entry->offset == 0;
    *entry = (struct conflation_entry){hash, offset};
}

void conflation_note_ring(struct conflation *conflation, const struct ring *ring)
{
    for (size_t i = 0; i < ring->count; i++) {
        const struct message *message = ring_at(ring, i);
        conflation_note(conflation, message->key_hash, message->offset, 1);
    }
}

uint64_t conflation_newest(const struct conflation *conflation, uint64_t hash)
{
    return conflation->entries ? conflation_find(conflation, hash)->offset : 0;
}
