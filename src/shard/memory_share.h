/* SPDX-License-Identifier: MIT */
#pragma once

/* What connections have the server keep that is no message: input that is not whole yet or not done with,
 * answers that clients do not take, and sessions of TLS. Counted together over all shards, and bounded by
 * connection-memory.
 *
 * The nearer the bound, the less is begun: from a half of it on no TLS session, from five eighths on nothing
 * that may become large. The last quarter is for what is small, so that those who fill the rest with large
 * pieces do not keep others from sending commands and short messages. One input of the largest size fits
 * whatever the option says.
 *
 * Lock-free, any thread, but for what takes a shard, which is on that shard's. To be set when the size of an
 * allocation changes, which is seldom, not with each read.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options;
struct shard;

/* Of the process. */
struct memory_budget {
    _Atomic uint64_t used;
    _Atomic uint64_t most;
    _Atomic uint64_t refused; /* so often there was no room */
};

/* What is counted for one holder. All zeros is nothing. */
struct memory_share {
    size_t bytes;
};

void memory_budget_configure(struct memory_budget *budget, const struct options *options);

/* Counts `bytes` for the holder, in place of what was counted. Returns false when there is no room for the
 * more; then it counts nothing any more, and the holder is to let go of all of it and to say so
 * (ERROR_CONNECTION_MEMORY, CLOSE_CONNECTION_MEMORY). That is counted. */
bool memory_share_resize(struct memory_share *share, struct memory_budget *budget, size_t bytes);

/* The same for a holder that is new, and had better not begin when half of it is used. */
bool memory_share_begin(struct memory_share *share, struct memory_budget *budget, size_t bytes);

/* memory_share_resize in the budget of the shard's process. */
bool memory_share_set(struct memory_share *share, struct shard *shard, size_t bytes);

/* Counts `bytes` for the holder whether there is room for them or not: they are there, and have to be told.
 */
void memory_share_hold(struct memory_share *share, struct shard *shard, size_t bytes);

/* Whether what may become large is better not begun. */
bool memory_is_short(const struct shard *shard);

/* The same, for who then says ERROR_CONNECTION_MEMORY. That is counted. */
bool memory_refuses(struct shard *shard);
