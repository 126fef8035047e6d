/* SPDX-License-Identifier: MIT */
#include "shard/life.h"

#include "base/random.h"
#include "shard/shard.h"

#define LIFE_RETRIES_PER_RETRY 10u
#define LIFE_LOOKS_PER_LIFE 16u
#define LIFE_LOOK_LEAST_MS 50u

uint64_t life_look_ms(const struct shard *shard, uint64_t usual_ms)
{
    uint64_t life_ms = shard->options->stream_life_ms;
    uint64_t look_ms = life_ms / LIFE_LOOKS_PER_LIFE;
    look_ms = look_ms < LIFE_LOOK_LEAST_MS ? LIFE_LOOK_LEAST_MS : look_ms;
    return life_ms > 0 && look_ms < usual_ms ? look_ms : usual_ms;
}

uint64_t life_begin(const struct shard *shard, uint64_t period_ms)
{
    uint64_t life_ms = shard->options->stream_life_ms;
    uint64_t spread_ms = life_ms / 4 > period_ms ? life_ms / 4 - period_ms : 0;
    return life_ms == 0 ? LIFE_ENDLESS : shard->now_ms + life_ms - random_below(spread_ms + 1);
}

bool life_is_over(const struct shard *shard, uint64_t end_ms, uint64_t period_ms)
{
    return end_ms != LIFE_ENDLESS && shard->now_ms + period_ms > end_ms;
}

uint64_t life_retry_ms(const struct shard *shard)
{
    return random_jitter(shard->options->retry_ms / LIFE_RETRIES_PER_RETRY);
}
