/* SPDX-License-Identifier: MIT */
#pragma once

/* What a subscriber has besides when one of its names is wild (channel_name_is_wild): a stem for each such
 * name, which finds the channels below NAME, those that are there and those that come later, and a branch for
 * each channel found. For core/subscriber.c, the hub and the channels only; everything runs on the shard's
 * thread.
 *
 * Nothing goes through all branches when something is delivered: those that were woken are in a list, and
 * only these are read, blocked and yielded.
 *
 * A stem's subscription stands on a channel without a log, whose epoch has the hash of the wild name and a
 * random part of zeros; in no list of it, and never LIVE. Its entry in a cursor says how many channels are
 * followed: over CURSOR_CHANNELS_MAX when not all of them have an entry. A cursor that has an entry for every
 * channel says by that which ones are new since.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "base/timer.h"
#include "core/subscriber.h"
#include "core/watcher.h"

struct stem_watch;

struct stem {
    struct stem_watch *watch;          /* outlives the spread until the broker lets go of it */
    struct subscription *subscription; /* one of the subscriber's */
    bool is_complete; /* the cursor that the subscriber came with names every channel below */
};

struct branch {
    UT_hash_handle hh;
    struct subscription subscription;
    struct list link;       /* in spread.branches */
    struct list woken_link; /* in spread.woken or .fetching */
    bool is_new;            /* its log was begun after the subscriber was attached */
    bool is_awaited;
};

struct spread {
    struct subscriber *subscriber;
    struct start *start;
    struct branch *table;  /* by the channel's name (uthash) */
    struct list branches;  /* the one that was woken last is the first */
    struct list woken;     /* those that may have something to tell */
    struct list fetching;  /* those that wait for a page of history, or did */
    struct timer nudge;    /* a stem has something to tell */
    uint64_t count;        /* of branches */
    unsigned awaited;      /* searches and branches before the subscriber is attached, or all is found anew */
    bool has_begun;        /* the subscriber is attached */
    bool is_joining;       /* in subscriber_join: what goes wrong is its answer */
    bool leaves_out;       /* there are channels below that are not followed, for want of room */
    enum error_code error; /* while it is joining */
    unsigned stem_count;
    struct stem stems[CURSOR_PATTERNS_MAX];
};

static inline bool subscriber_is_spread(const struct subscriber *subscriber)
{
    return subscriber->pending == SUBSCRIBER_SPREADS;
}

/* For a subscriber whose subscriptions are made, but not their channels: joins those of its names that are
 * channels, and begins to look for what is below the others. Returns why it cannot; then all is as before. */
enum error_code spread_begin(struct subscriber *subscriber, const struct text *names,
                             const struct start *start);

/* The subscriber leaves: lets go of the branches and stems, and of the channels of its subscriptions. */
void spread_end(struct spread *spread);

/* Whether the subscriber is attached. */
static inline bool spread_has_begun(const struct spread *spread)
{
    return spread->has_begun;
}

/* What channels and hub tell of a subscription. */
void spread_attached(struct subscription *subscription);
void spread_failed(struct subscription *subscription, enum error_code error);
void spread_woken(struct subscription *subscription);

/* Where a subscription starts. */
const struct start *spread_start(const struct subscription *subscription);

/* As the subscriber's functions of that name, for branches and stems. `before` deliveries are there already.
 */
size_t spread_read(struct spread *spread, struct delivery *deliveries, size_t most, size_t before);
bool spread_has_gap(struct spread *spread);
bool spread_is_fetching(const struct spread *spread);
void spread_block(struct spread *spread);
void spread_yield(struct spread *spread);
void spread_introduce(struct spread *spread, struct persona *persona);
size_t spread_cursor(const struct spread *spread, char *to, unsigned *room);
