/* SPDX-License-Identifier: MIT */
#pragma once

/* A message on its way into the log of its channel and, as an entry, into that of each tree above: into all
 * or into none. Whoever calls holds the broker's lock, from before the logs are found until they are told.
 */

#include "broker/memory/log.h"
#include "config/channel_options.h"
#include "core/message.h"

#define PLACING_MOST (1u + CHANNEL_TREES_MAX)

struct placing {
    unsigned count;
    struct place_of {
        struct log *log;         /* the first is the channel's; set by the caller, as is the count */
        struct message *message; /* a reference; NULL once it is in the log and nobody is to be told */
        struct letter *letters;  /* to those who have the log attached */
        bool is_reserved;        /* there is room for it in the log */
    } of[PLACING_MOST];
};

/* Has everything ready that may fail, for a message whose time is set. Returns 0; or -ENOMEM, and nothing is
 * kept. */
int placing_prepare(struct placing *placing, struct message *message);

/* Instead of the commit. */
void placing_abandon(struct placing *placing);

/* The message has its place: in the logs, or behind their newest when it is transient. Returns 0; or -ENOMEM,
 * and nothing is kept, of a message for one log only. */
int placing_commit(struct placing *placing);

/* Tells those who have the logs attached. */
void placing_tell(struct placing *placing);
