/* SPDX-License-Identifier: MIT */
#pragma once

/* Of each key among messages the newest: what tells a slow subscriber that wants no others which messages to
 * pass over. A table of key hashes; it grows with the keys, not with the messages. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/ring.h"

struct conflation_entry {
    uint64_t hash;
    uint64_t offset; /* 0: the entry is free */
};

struct conflation {
    struct conflation_entry *entries; /* NULL while it knows nothing */
    size_t capacity;                  /* a power of two, or 0 */
    size_t count;
};

/* Forgets everything. */
void conflation_deinit(struct conflation *conflation);

/* A message of that key has come, newer than all before it. Those before `oldest` need not be known any more.
 * Without memory everything is forgotten: nothing is passed over then that has come so far. */
void conflation_note(struct conflation *conflation, uint64_t hash, uint64_t offset, uint64_t oldest);

/* The same of all messages of a ring. */
void conflation_note_ring(struct conflation *conflation, const struct ring *ring);

/* The offset of the newest message of that key; 0 when none is known. */
uint64_t conflation_newest(const struct conflation *conflation, uint64_t hash);
