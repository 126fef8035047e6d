/* SPDX-License-Identifier: MIT */
#pragma once

/* Another process takes the place of this one (SIGUSR2; docs/SERVICE.md, "Upgrade"): it is started, gets the
 * listening sockets, checks everything, and when it is ready what the broker keeps. Then it is the server,
 * and this process lets its clients go. Whatever fails before that changes nothing. The other side is
 * server/inheritance. Main thread.
 *
 *   none ──► starting ──► giving ──► awaiting ──► over
 *    ^           │           │          │
 *    `───────────┴───────────┴──────────´   (failed)
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/keeper.h"
#include "server/listening.h"
#include "server/notify.h"
#include "shard/shard.h"

enum succession_state {
    SUCCESSION_NONE,
    SUCCESSION_STARTING, /* the other process is not ready */
    SUCCESSION_GIVING,   /* what the broker keeps; nobody is accepted, nothing published */
    SUCCESSION_AWAITING, /* that it has all */
    SUCCESSION_OVER,     /* it is the server */
};

struct succession {
    enum succession_state state;
    struct keeper keeper;
    struct shard_group *group;
    struct listenings *listenings;
    struct notify *notify;
    int fd;   /* to the other process; -1 when there is none */
    long pid; /* of that, once it is ready */
    uint64_t begun_ms;
    uint64_t frozen_ms; /* since when nothing is published */
    uint64_t until_ms;  /* when patience ends */
    uint64_t away_ms;   /* how long clients are on their way */
    bool has_more;      /* to give */
    struct buf out;
    size_t sent; /* of that */
    struct buf in;
};

/* Starts the other process. Refuses, with a line in the log, while there is one. */
void succession_begin(struct succession *succession, uint64_t away_ms);

/* What its descriptor is to be waited for, and how long at most (UINT64_MAX: for ever). */
short succession_events(const struct succession *succession);
uint64_t succession_wait_ms(const struct succession *succession, uint64_t now_ms);

/* Something has come, can be sent, or time has passed. Returns whether the other process has just become the
 * server. */
bool succession_run(struct succession *succession);

/* Whether there is another process that is not the server yet. */
bool succession_is_on(const struct succession *succession);

/* The other process is not wanted any more: it is ended, and this one goes on. */
void succession_abandon(struct succession *succession, const char *reason);

void succession_deinit(struct succession *succession);
