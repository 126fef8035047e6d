/* SPDX-License-Identifier: MIT */
#pragma once

/* The messages of a log by offset: put behind the others, removed anywhere, and found. It holds no reference.
 *
 * They stand in blocks of up to SHELF_BLOCK, which an ordered index (JudyL) finds by their first offset. So
 * one message more is a pointer more, nothing grows by copying, and no hole has to be closed. A block has as
 * much room as there are messages when it is begun: few take little.
 *
 * Whoever calls holds the broker's lock.
 */

#include <stdint.h>

#include "core/message.h"

#define SHELF_BLOCK 64u

struct shelf_block;

/* All zero is an empty one. */
struct shelf {
    void *blocks; /* JudyL: by their first offset; none is empty but one with reserved room */
    struct shelf_block *first;
    struct shelf_block *last;
};

/* Makes room for a message of that offset, higher than any on the shelf, which has `count` of them. Returns 0
 * or -ENOMEM. */
int shelf_reserve(struct shelf *shelf, uint64_t offset, uint64_t count);

/* Nothing is put into the room that was reserved last. */
void shelf_release(struct shelf *shelf);

/* Puts the message into the room that was reserved for its offset. */
void shelf_put(struct shelf *shelf, struct message *message);

/* It is on the shelf. */
void shelf_remove(struct shelf *shelf, const struct message *message);

/* The one of that offset, or NULL. */
struct message *shelf_get(const struct shelf *shelf, uint64_t offset);

/* The first of that offset or a higher one, or NULL. */
struct message *shelf_find(const struct shelf *shelf, uint64_t offset);

/* The one of the lowest offset, or NULL. */
struct message *shelf_first(const struct shelf *shelf);
