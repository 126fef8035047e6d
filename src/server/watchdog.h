/* SPDX-License-Identifier: MIT */
#pragma once

/* Whether every shard still turns: in each round a letter goes through every shard's mailbox and back, and
 * only when all have come back is the round over. A shard that hangs ends no round. Main thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "shard/shard.h"

struct watchdog {
    const struct shard_group *group;
    struct watchdog_question *questions; /* one a shard */
    uint64_t interval_ms;                /* 0: nobody is asked */
    uint64_t due_ms;                     /* when the next round begins */
    uint64_t begun_ms;
    unsigned unanswered;
    void (*all_well)(struct watchdog *watchdog); /* a round is over */
};

/* Begins rounds of `interval_ms`. The shards are running; what they answer comes through the group's home
 * mailbox. Returns 0 or -ENOMEM. */
int watchdog_start(struct watchdog *watchdog, const struct shard_group *group, uint64_t interval_ms,
                   void (*all_well)(struct watchdog *watchdog));

/* Begins a round that is due, unless one is under way: then the shards that owe an answer are logged. To be
 * called at the time that watchdog_wait_ms says. */
void watchdog_run(struct watchdog *watchdog, uint64_t now_ms);

/* How long until watchdog_run has something to do; UINT64_MAX when it never has. */
uint64_t watchdog_wait_ms(const struct watchdog *watchdog, uint64_t now_ms);

/* The shards' mailboxes and the home mailbox are empty, or gone. */
void watchdog_stop(struct watchdog *watchdog);
