/* SPDX-License-Identifier: MIT */
#include "base/buckets.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/table.h"

#define BUCKETS_ROWS 2u
#define BUCKETS_CELLS 65536u
#define BUCKETS_NS_PER_S 1000000000u
#define BUCKETS_NS_PER_MS 1000000u
#define BUCKETS_DEPTH_MAX_NS (UINT64_MAX / 4)

/* When the bucket is full again; what is past is full. */
struct buckets {
    _Atomic uint64_t full_ns[BUCKETS_ROWS][BUCKETS_CELLS];
};

struct buckets *buckets_new(void)
{
    return calloc(1, sizeof(struct buckets));
}

void buckets_free(struct buckets *buckets)
{
    free(buckets);
}

/* Raises a cell to `to`, unless it is higher already. */
static void buckets_raise(_Atomic uint64_t *cell, uint64_t to)
{
    uint64_t found = atomic_load_explicit(cell, memory_order_relaxed);
    while (found < to && !atomic_compare_exchange_weak_explicit(cell, &found, to, memory_order_relaxed,
                                                                memory_order_relaxed))
        ;
}

/* What stands in a cell. One that is further ahead than any use makes it was written under another clock or
 * another rate: from now on it is an empty bucket, no more than that. */
static uint64_t buckets_read(_Atomic uint64_t *cell, uint64_t most_ns)
{
    uint64_t found = atomic_load_explicit(cell, memory_order_relaxed);
    while (found > most_ns && !atomic_compare_exchange_weak_explicit(
                                  cell, &found, most_ns, memory_order_relaxed, memory_order_relaxed))
        ;
    return found > most_ns ? most_ns : found;
}

/* How far ahead of now a cell may be. */
static uint64_t buckets_depth(const struct bucket_rate *rate, uint64_t token_ns)
{
    uint64_t depth_ns;
    if (__builtin_mul_overflow(rate->burst_ms, (uint64_t)BUCKETS_NS_PER_MS, &depth_ns) ||
        depth_ns > BUCKETS_DEPTH_MAX_NS)
        depth_ns = BUCKETS_DEPTH_MAX_NS;
    return number_greater(depth_ns, token_ns);
}

/* Where a key's tokens are counted, and in what units. */
struct buckets_place {
    _Atomic uint64_t *cells[BUCKETS_ROWS];
    uint64_t token_ns;
    uint64_t depth_ns;
};

static struct buckets_place buckets_find(struct buckets *buckets, const void *key, size_t len,
                                         const struct bucket_rate *rate)
{
    const uint64_t hash = table_hash(key, len);
    const uint64_t token_ns = BUCKETS_NS_PER_S / rate->per_second;
    return (struct buckets_place){
        .cells = {&buckets->full_ns[0][hash % BUCKETS_CELLS],
                  &buckets->full_ns[1][(hash >> 32) % BUCKETS_CELLS]},
        .token_ns = token_ns,
        .depth_ns = buckets_depth(rate, token_ns),
    };
}

uint64_t buckets_ask(struct buckets *buckets, const void *key, size_t len, const struct bucket_rate *rate,
                     uint64_t tokens, uint64_t now_ns)
{
    const struct buckets_place place = buckets_find(buckets, key, len, rate);
    uint64_t needed_ns;
    if (__builtin_mul_overflow(place.token_ns, tokens, &needed_ns) || needed_ns > place.depth_ns)
        return UINT64_MAX;
    const uint64_t found[BUCKETS_ROWS] = {buckets_read(place.cells[0], now_ns + place.depth_ns),
                                          buckets_read(place.cells[1], now_ns + place.depth_ns)};
    uint64_t ahead_ns = number_greater(found[found[1] < found[0]], now_ns) - now_ns + needed_ns;
    return ahead_ns > place.depth_ns ? ahead_ns - place.depth_ns : 0;
}

uint64_t buckets_take(struct buckets *buckets, const void *key, size_t len, const struct bucket_rate *rate,
                      uint64_t now_ns)
{
    const struct buckets_place place = buckets_find(buckets, key, len, rate);
    _Atomic uint64_t *const *cells = place.cells;
    const uint64_t token_ns = place.token_ns;
    const uint64_t depth_ns = place.depth_ns;
    uint64_t full_ns;
    unsigned row;
    do {
        const uint64_t found[BUCKETS_ROWS] = {buckets_read(cells[0], now_ns + depth_ns),
                                              buckets_read(cells[1], now_ns + depth_ns)};
        row = found[1] < found[0];
        full_ns = found[row];
        uint64_t ahead_ns = number_greater(full_ns, now_ns) - now_ns + token_ns;
        if (ahead_ns > depth_ns)
            return ahead_ns - depth_ns;
    } while (!atomic_compare_exchange_weak_explicit(cells[row], &full_ns,
                                                    number_greater(full_ns, now_ns) + token_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    buckets_raise(cells[1 - row], number_greater(full_ns, now_ns) + token_ns);
    return 0;
}
