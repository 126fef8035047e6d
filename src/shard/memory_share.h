/* SPDX-License-Identifier: MIT */
#pragma once

/* What connections have the server keep that is no message: input that is not whole yet or not done with, and
 * answers that clients do not take. Counted together over all shards, and bounded by connection-memory.
 *
 * The last quarter is for what is small, so that those who fill the rest with large pieces do not keep others
 * from sending commands and short messages. One input of the largest size fits whatever the option says.
 *
 * Lock-free; a share is used on one shard's thread. To be set when the size of an allocation changes, which
 * is seldom, not with each read.
 */

#include <stdbool.h>
#include <stddef.h>

struct shard;

/* What is counted for one holder. All zeros is nothing. */
struct memory_share {
    size_t bytes;
};

/* Counts `bytes` for the holder, in place of what was counted. Returns false when there is no room for the
 * more; then it counts nothing any more, and the holder is to let go of all of it and to say so
 * (ERROR_CONNECTION_MEMORY, CLOSE_CONNECTION_MEMORY). That is counted. */
bool memory_share_set(struct memory_share *share, struct shard *shard, size_t bytes);

/* Counts `bytes` for the holder whether there is room for them or not: they are there, and have to be told.
 */
void memory_share_hold(struct memory_share *share, struct shard *shard, size_t bytes);

/* Whether what may become large is better not begun: half of it is used. */
bool memory_is_short(const struct shard *shard);
