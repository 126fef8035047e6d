/* SPDX-License-Identifier: MIT */
#pragma once

/* The vestibule: where connections of listeners with proxy-protocol=yes wait until the proxy's header says
 * whose they are (shard/proxy_header.h). Nobody else sees the header. On the shard's thread.
 */

#include "base/list.h"
#include "base/timer.h"
#include "tables/errors.h"

struct arrival;
struct listener;
struct shard;

struct vestibule {
    struct shard *shard;
    struct list guests;    /* in the order of their deadlines */
    struct timer deadline; /* of the first */
};

void vestibule_init(struct vestibule *vestibule, struct shard *shard);

/* Takes a connection that has been counted, under no address; the listener gets it with the one that its
 * header names. Returns ERROR_NONE, or what it is to be told before it is closed: then nothing has been
 * taken. */
enum error_code vestibule_take(struct listener *listener, const struct arrival *arrival);

/* Closes those who wait. */
void vestibule_shut(struct vestibule *vestibule);
