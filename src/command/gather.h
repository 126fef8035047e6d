/* SPDX-License-Identifier: MIT */
#pragma once

/* A part of a channel's log read into one answer: from a start up to what is the end when the channel is
 * attached. Embedded by who answers. Everything runs on the shard's thread. */

#include <stdbool.h>
#include <stdint.h>

#include "core/subscriber.h"
#include "shard/shard.h"

struct gather;
struct gather_ops {
    /* What comes next: takes it (subscriber_advance) and returns true, or false to take nothing more. */
    bool (*add)(struct gather *gather, struct delivery *delivery);
    /* All is taken that there is, or the channel cannot be read. To be answered; gather_drop follows. */
    void (*end)(struct gather *gather, enum error_code error);
};

struct gather {
    const struct gather_ops *ops;
    struct shard *shard;
    uint64_t until;  /* offset of the last message to take */
    bool is_patient; /* goes on waiting at the end of the log */
    struct subscriber subscriber;
    struct garbage garbage;
};

/* Begins; `end` is called later. Returns why it cannot. */
enum error_code gather_begin(struct gather *gather, struct shard *shard, const struct gather_ops *ops,
                             enum transport_kind transport, struct text channel, const struct start *start);

/* It is to be looked at again in its turn: patience has ended. */
void gather_wake(struct gather *gather);

/* Leaves the channel; `release` is called after this turn. */
void gather_drop(struct gather *gather, void (*release)(struct garbage *garbage));
