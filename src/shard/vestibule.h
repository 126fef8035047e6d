/* SPDX-License-Identifier: MIT */
#pragma once

/* The vestibule: where connections of listeners with proxy-protocol=yes wait until the proxy's header says
 * whose they are (shard/proxy_header.h). Nobody else sees the header. Who is over a limit waits too, because
 * how he is told is in the head behind the header: but not for long, not counted among the connections, and
 * with few others. On the shard's thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timer.h"
#include "tables/errors.h"

struct arrival;
struct listener;
struct shard;

struct vestibule {
    struct shard *shard;
    struct list guests;   /* in the order of their deadlines */
    struct list unwanted; /* the same, of those over a limit */
    uint64_t unwanted_count;
    struct timer deadline; /* of the first of both */
};

void vestibule_init(struct vestibule *vestibule, struct shard *shard);

/* Takes a connection that has been counted, under no address; the listener gets it with the one that its
 * header names. Returns ERROR_NONE, or what it is to be told before it is closed: then nothing has been
 * taken. */
enum error_code vestibule_take(struct listener *listener, const struct arrival *arrival);

/* Closes the one over a limit that has waited longest. Returns whether there was one. */
bool vestibule_make_room(struct vestibule *vestibule);

/* Closes those who wait. */
void vestibule_shut(struct vestibule *vestibule);
