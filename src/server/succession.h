/* SPDX-License-Identifier: MIT */
#pragma once

/* Another process takes the place of this one (SIGUSR2; docs/SERVICE.md, "Upgrade"): it is started, gets the
 * listening sockets, checks everything, and when it is ready what the broker keeps. Then it is the server,
 * gets the connections that wait for their next request, and this process lets its other clients go. Whatever
 * fails before that changes nothing. The other side is server/inheritance. Main thread.
 *
 *   none ──► starting ──► calming ──► giving ──► awaiting ──► over
 *    ^           │           │           │          │
 *    `───────────┴───────────┴───────────┴──────────´   (failed)
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/keeper.h"
#include "server/listening.h"
#include "server/notify.h"
#include "shard/passage.h"
#include "shard/shard.h"

enum succession_state {
    SUCCESSION_NONE,
    SUCCESSION_STARTING, /* the other process is not ready */
    SUCCESSION_CALMING,  /* nobody is accepted, no further request looked at; what is under way may end */
    SUCCESSION_GIVING,   /* what the broker keeps; nothing is published */
    SUCCESSION_AWAITING, /* that it has all */
    SUCCESSION_OVER,     /* it is the server */
};

struct succession {
    enum succession_state state;
    struct keeper keeper;
    struct shard_group *group;
    struct listenings *listenings;
    struct notify *notify;
    int fd;   /* to the other process, also once it is the server; -1 when there is none */
    long pid; /* of that, once it is ready */
    uint64_t begun_ms;
    uint64_t calmed_ms; /* since when no request is looked at */
    uint64_t until_ms;  /* when patience ends */
    uint64_t away_ms;   /* how long clients are on their way */
    bool has_more;      /* to give */
    struct calm_round { /* through all shards, one after another */
        struct letter letter;
        unsigned next; /* shard */
        bool is_out;
        bool is_void;     /* it was begun for another process */
        bool has_busy;    /* a request was under way */
        uint64_t next_ms; /* when the next one begins */
    } round;
    struct buf out;
    size_t sent; /* of that */
    struct buf in;
};

/* Starts the other process. Refuses, with a line in the log, while there is one. */
void succession_begin(struct succession *succession, uint64_t away_ms);

/* What its descriptor is to be waited for, and how long at most (UINT64_MAX: for ever). */
short succession_events(const struct succession *succession);
uint64_t succession_wait_ms(const struct succession *succession, uint64_t now_ms);

/* The other process is the server: gives it a connection of this one. */
void succession_pass_on(struct succession *succession, const struct passenger *passenger);

/* Something has come, can be sent, or time has passed. Returns whether the other process has just become the
 * server. */
bool succession_run(struct succession *succession);

/* Whether there is another process that is not the server yet. */
bool succession_is_on(const struct succession *succession);

/* The other process is not wanted any more: it is ended, and this one goes on. */
void succession_abandon(struct succession *succession, const char *reason);

void succession_deinit(struct succession *succession);
