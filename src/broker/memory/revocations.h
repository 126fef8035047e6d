/* SPDX-License-Identifier: MIT */
#pragma once

/* The revocations of this process, kept for the process that takes its place: the shards know them too, each
 * in its own way. Whoever calls holds the broker's lock. */

#include "core/revocation.h"

struct memory_revocations {
    size_t count;
    size_t capacity;
    struct memory_revocation *items;
};

void memory_revocations_deinit(struct memory_revocations *revocations);

/* Copies; forgets those that are over on the wall clock when there are twice as many as there were then.
 * Returns 0 or -ENOMEM. */
int memory_revocations_add(struct memory_revocations *revocations, const struct revocation *revocation,
                           int64_t now_ms);

/* Takes back what was added last. */
void memory_revocations_drop_last(struct memory_revocations *revocations);

/* The one at `index`, as revocation_format writes it. */
struct text memory_revocations_form(const struct memory_revocations *revocations, size_t index);
