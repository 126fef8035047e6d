/* SPDX-License-Identifier: MIT */
#pragma once

/* A shard hears of revocations: it remembers them for what comes later, and ends what is open by them. Until
 * it has heard of all those that the broker kept, no token is good: any of them may be revoked. What it knows
 * stays in force whatever becomes of the broker. */

#include <stdbool.h>

#include "core/broker.h"

struct revoked;
struct shard;
struct shard_group;

struct revocations_desk {
    struct revocation_listener listener;
    struct listen_request request;
    bool are_known; /* those that were kept when this shard began */
};

/* Main thread, before the shard runs, whose hub is there. Returns 0 or -ENOMEM. */
int revocations_begin(struct shard *shard);

/* Whether every shard knows those that were kept when it began; any thread. */
bool revocations_are_known(const struct shard_group *group);
