/* SPDX-License-Identifier: MIT */
#pragma once

/* Token buckets of any number of keys, in a table that never grows: two rows under different hashes
 * (count-min), in each the time at which a bucket is full again (GCRA, ITU-T I.371). A key has what the
 * better of its two cells allows, so it shares its rate with others only where both are shared; never does it
 * get more.
 *
 * Lock-free, any thread; of threads that take of one key in the same instant each may get one token too many.
 * The hash is keyed (base/table.h). Times are of one clock; where that is set back a key waits for one token
 * at most, where it is set forward it has a full bucket.
 */

#include <stddef.h>
#include <stdint.h>

struct buckets;

/* So many tokens a second; a full bucket has those of `burst_ms`, one at least. */
struct bucket_rate {
    uint64_t per_second; /* 1 to 1000000000 */
    uint64_t burst_ms;
};

/* NULL when memory is out. What is not used is not touched. */
struct buckets *buckets_new(void);
void buckets_free(struct buckets *buckets);

/* In how many nanoseconds there will be so many tokens of the key, 0 when there are now, UINT64_MAX when
 * there never are, since a full bucket has fewer. Nothing is taken. */
uint64_t buckets_ask(struct buckets *buckets, const void *key, size_t len, const struct bucket_rate *rate,
                     uint64_t tokens, uint64_t now_ns);

/* Takes a token of the key. Returns 0, or in how many nanoseconds there will be one: then nothing is taken.
 */
uint64_t buckets_take(struct buckets *buckets, const void *key, size_t len, const struct bucket_rate *rate,
                      uint64_t now_ns);
