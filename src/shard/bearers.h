/* SPDX-License-Identifier: MIT */
#pragma once

/* Bearers: what is open on a shard and hangs on a grant, and ends with it: when its time is over, or when it
 * is revoked. Nothing is looked at when something is delivered. New keys do not touch what is open. On the
 * shard's thread.
 */

#include "auth/grant.h"
#include "base/list.h"
#include "base/timer.h"
#include "core/revocation.h"
#include "tables/errors.h"

struct shard;

/* Embedded in whatever is open; all zeros is nobody. */
struct bearer {
    struct grant *grant; /* NULL: nobody has said who he is. A reference of its own */
    /* The grant is over, and why; the bearer is not told again. May end it, and free nothing in this turn.
     * NULL before bearer_begin. */
    void (*over)(struct bearer *bearer, enum error_code why);
    struct bearer_table *table;
    struct list link; /* in the table, while there is a grant */
    struct timer timer;
};

/* Those of a shard. */
struct bearer_table {
    struct shard *shard;
    struct list bearers;
    uint64_t count;
};

void bearer_table_init(struct bearer_table *table, struct shard *shard);

/* Has the bearer another grant from now on, or none; the reference is taken over. */
void bearer_identify(struct bearer *bearer, struct grant *grant);

/* It is open: `over` follows when its grant, this one or a later one, is over. */
void bearer_begin(struct bearer *bearer, struct bearer_table *table,
                  void (*over)(struct bearer *bearer, enum error_code why));

/* It is not open any more, and nobody's. Twice does no harm. */
void bearer_end(struct bearer *bearer);

/* Ends those whose grant is revoked. */
void bearer_table_revoke(struct bearer_table *table, const struct revocation *revocation);
