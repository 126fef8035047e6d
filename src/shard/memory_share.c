/* SPDX-License-Identifier: MIT */
#include "shard/memory_share.h"

#include <stdatomic.h>

#include "base/number.h"
#include "config/channel_options.h"
#include "shard/shard.h"

/* What is counted as small. */
#define SHARE_SMALL_BYTES 16384u
/* A buffer that grows may be twice as large as what stands in it. */
#define SHARE_BUFFER_FACTOR 2u
/* A command whose message is escaped at worst, and what stands around it, see conversation_text_max. */
#define SHARE_ESCAPED_FACTOR 6u
#define SHARE_TEXT_MORE 65536u

/* All that there is: three quarters of it hold one input of the largest size. */
static uint64_t share_limit(const struct options *options)
{
    uint64_t largest =
        number_greater(options->batch_size_bytes,
                       SHARE_ESCAPED_FACTOR * channel_message_size_most(options) + SHARE_TEXT_MORE);
    return number_greater(options->connection_memory_bytes, SHARE_BUFFER_FACTOR * largest / 3 * 4);
}

void memory_share_hold(struct memory_share *share, struct shard *shard, size_t bytes)
{
    _Atomic uint64_t *total = &shard->group->connection_bytes;
    if (bytes > share->bytes)
        atomic_fetch_add_explicit(total, bytes - share->bytes, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(total, share->bytes - bytes, memory_order_relaxed);
    share->bytes = bytes;
}

bool memory_share_set(struct memory_share *share, struct shard *shard, size_t bytes)
{
    _Atomic uint64_t *total = &shard->group->connection_bytes;
    if (bytes <= share->bytes) {
        if (bytes < share->bytes)
            memory_share_hold(share, shard, bytes);
        return true;
    }
    size_t more = bytes - share->bytes;
    uint64_t before = atomic_fetch_add_explicit(total, more, memory_order_relaxed);
    share->bytes = bytes;
    uint64_t limit = share_limit(shard->options);
    if (before + more <= (bytes > SHARE_SMALL_BYTES ? limit / 4 * 3 : limit))
        return true;
    atomic_fetch_sub_explicit(total, bytes, memory_order_relaxed);
    share->bytes = 0;
    shard_count(shard, METRIC_CONNECTION_MEMORY_REFUSED, 1);
    return false;
}

bool memory_is_short(const struct shard *shard)
{
    uint64_t total = atomic_load_explicit(&shard->group->connection_bytes, memory_order_relaxed);
    return total > share_limit(shard->options) / 2;
}
