/* SPDX-License-Identifier: MIT */
#include "shard/memory_share.h"

#include "base/number.h"
#include "config/channel_options.h"
#include "shard/shard.h"

/* So much of all there is may be used for what is begun, and before what may become large is begun no more;
 * and with what is large, and with what is small. */
#define SHARE_EIGHTHS_NEW 4u
#define SHARE_EIGHTHS_SHORT 5u
#define SHARE_EIGHTHS_LARGE 6u
#define SHARE_EIGHTHS_ALL 8u
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

void memory_budget_configure(struct memory_budget *budget, const struct options *options)
{
    atomic_store_explicit(&budget->most, share_limit(options), memory_order_relaxed);
}

static bool share_refuse(struct memory_budget *budget)
{
    atomic_fetch_add_explicit(&budget->refused, 1, memory_order_relaxed);
    return false;
}

static uint64_t budget_eighth(const struct memory_budget *budget)
{
    return atomic_load_explicit(&budget->most, memory_order_relaxed) / 8;
}

static void share_hold(struct memory_share *share, struct memory_budget *budget, size_t bytes)
{
    if (bytes > share->bytes)
        atomic_fetch_add_explicit(&budget->used, bytes - share->bytes, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&budget->used, share->bytes - bytes, memory_order_relaxed);
    share->bytes = bytes;
}

void memory_share_hold(struct memory_share *share, struct shard *shard, size_t bytes)
{
    share_hold(share, &shard->group->memory, bytes);
}

bool memory_share_resize(struct memory_share *share, struct memory_budget *budget, size_t bytes)
{
    if (bytes <= share->bytes) {
        if (bytes < share->bytes)
            share_hold(share, budget, bytes);
        return true;
    }
    size_t more = bytes - share->bytes;
    uint64_t before = atomic_fetch_add_explicit(&budget->used, more, memory_order_relaxed);
    uint64_t eighths = bytes > SHARE_SMALL_BYTES ? SHARE_EIGHTHS_LARGE : SHARE_EIGHTHS_ALL;
    share->bytes = bytes;
    if (before + more <= eighths * budget_eighth(budget))
        return true;
    atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
    share->bytes = 0;
    return share_refuse(budget);
}

bool memory_share_begin(struct memory_share *share, struct memory_budget *budget, size_t bytes)
{
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    if (used + bytes > SHARE_EIGHTHS_NEW * budget_eighth(budget))
        return share_refuse(budget);
    return memory_share_resize(share, budget, bytes);
}

bool memory_share_set(struct memory_share *share, struct shard *shard, size_t bytes)
{
    return memory_share_resize(share, &shard->group->memory, bytes);
}

bool memory_is_short(const struct shard *shard)
{
    const struct memory_budget *budget = &shard->group->memory;
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    return used > SHARE_EIGHTHS_SHORT * budget_eighth(budget);
}

bool memory_refuses(struct shard *shard)
{
    return memory_is_short(shard) && !share_refuse(&shard->group->memory);
}
