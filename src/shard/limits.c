/* SPDX-License-Identifier: MIT */
#include "shard/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/table.h"

/* Counts by address in two rows of buckets under different hashes (count-min): the smaller of the two is the
 * address's own count unless it shares both buckets with others. No lock, no growth, whatever comes. */
#define LIMIT_BUCKETS 65536u
#define LIMIT_ROWS 2u

struct connection_limits {
    _Atomic uint64_t total;
    _Atomic uint32_t buckets[LIMIT_ROWS][LIMIT_BUCKETS];
};

struct connection_limits *connection_limits_new(void)
{
    return calloc(1, sizeof(struct connection_limits));
}

void connection_limits_free(struct connection_limits *limits)
{
    free(limits);
}

/* Half of the hash for each row. */
static _Atomic uint32_t *limits_bucket(struct connection_limits *limits, unsigned row, uint64_t hash)
{
    return &limits->buckets[row][(hash >> (row * 32)) % LIMIT_BUCKETS];
}

static void limits_count(struct connection_limits *limits, const struct limit_key *key, uint32_t by)
{
    if (key->len == 0)
        return;
    uint64_t hash = table_hash(key->bytes, key->len);
    for (unsigned row = 0; row < LIMIT_ROWS; row++)
        atomic_fetch_add_explicit(limits_bucket(limits, row, hash), by, memory_order_relaxed);
}

void connection_limits_name(struct connection_limits *limits, const struct address *address,
                            struct limit_key *key)
{
    if (address->storage.ss_family != AF_UNIX)
        key->len = (uint8_t)address_client_key(address, key->bytes);
    limits_count(limits, key, 1);
}

void connection_limits_unname(struct connection_limits *limits, struct limit_key *key)
{
    limits_count(limits, key, UINT32_MAX); /* one less: unsigned numbers wrap */
    *key = (struct limit_key){0};
}

void connection_limits_count(struct connection_limits *limits, const struct limit_key *key)
{
    atomic_fetch_add_explicit(&limits->total, 1, memory_order_relaxed);
    limits_count(limits, key, 1);
}

void connection_limits_add(struct connection_limits *limits, const struct address *address,
                           struct limit_key *key)
{
    *key = (struct limit_key){0};
    connection_limits_count(limits, key);
    if (address)
        connection_limits_name(limits, address, key);
}

void connection_limits_remove(struct connection_limits *limits, const struct limit_key *key)
{
    struct limit_key named = *key;
    atomic_fetch_sub_explicit(&limits->total, 1, memory_order_relaxed);
    connection_limits_unname(limits, &named);
}

static uint32_t limits_of_key(struct connection_limits *limits, const struct limit_key *key)
{
    uint64_t hash = table_hash(key->bytes, key->len);
    uint32_t count = UINT32_MAX;
    for (unsigned row = 0; row < LIMIT_ROWS; row++) {
        uint32_t found = atomic_load_explicit(limits_bucket(limits, row, hash), memory_order_relaxed);
        count = found < count ? found : count;
    }
    return count;
}

enum error_code connection_limits_check(struct connection_limits *limits, const struct limit_key *key,
                                        const struct limit_caps *caps)
{
    if (caps->total > 0 && atomic_load_explicit(&limits->total, memory_order_relaxed) > caps->total)
        return caps->error;
    bool is_over = caps->of_address > 0 && key->len > 0 && limits_of_key(limits, key) > caps->of_address;
    return is_over ? ERROR_TOO_MANY_FROM_ADDRESS : ERROR_NONE;
}
