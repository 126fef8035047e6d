/* SPDX-License-Identifier: MIT */
#pragma once

/* A shard hears of revocations: it remembers them for what comes later, and ends what is open by them. */

#include "core/broker.h"

struct revoked;
struct shard;

struct revocations_desk {
    struct revocation_listener listener;
    struct listen_request request;
};

/* Main thread, before the shard runs, whose hub is there. Returns 0 or -ENOMEM. */
int revocations_begin(struct shard *shard);
