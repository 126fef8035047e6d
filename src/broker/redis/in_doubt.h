/* SPDX-License-Identifier: MIT */
#pragma once

/* Publishes in doubt: their commands were sent, and the link broke before the answers came. Each waits for
 * its server to be back; then it is looked up whether it is in the log. */

#include <stdbool.h>

#include "base/list.h"
#include "base/timer.h"
#include "broker/redis/resident.h"

struct finding;
struct publish;
struct redis_server;

/* The publishes that one server owes an answer for. */
struct in_doubt {
    struct resident resident; /* stays with its server, until that is gone for good */
    struct list publishes;    /* in the order in which they were sent */
    struct finding *finding;  /* what has become of some of them is being asked; NULL when nothing is */
    struct timer timer;       /* while the server is away: whoever waits too long is answered */
};

void in_doubt_init(struct redis_server *server);

/* Keeps a publish whose answer was lost, behind those that its server lost before. Returns false when it is
 * not in doubt, because it was sent nowhere, is transient, or the broker ends: then the caller finishes it.
 */
bool in_doubt_keep(struct publish *publish);
