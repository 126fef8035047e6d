/* SPDX-License-Identifier: MIT */
#pragma once

/* How a shard lets go of its clients: first evenly over the drain time, then all at once. Shard's thread. */

#include <stdint.h>

#include "base/timer.h"

struct shard;

struct drain {
    struct timer timer; /* of the next step */
    uint64_t begin_ms;
    uint64_t held;  /* how many are held; all there were when draining began, as far as is known */
    uint64_t ended; /* how many of them have been let go */
    uint64_t busy;  /* connections in the middle of a request or of its answer */
};

void drain_init(struct drain *drain);

/* How many requests are under way whose clients are not held. */
uint64_t drain_count_requests(struct shard *shard);

/* Shuts the doors and lets one after another go; the shard is moved on to closing when all have gone. */
void drain_begin(struct shard *shard);

/* Cuts every client that can be cut. Those who wait for an answer from the broker are left. */
void drain_cut(struct shard *shard);
