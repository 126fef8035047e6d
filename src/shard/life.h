/* SPDX-License-Identifier: MIT */
#pragma once

/* The longest life of what is streamed (stream-life): it ends by itself before a proxy cuts it, and its
 * client comes back at once. On the shard's thread.
 */

#include <stdbool.h>
#include <stdint.h>

struct shard;

/* For ever. */
#define LIFE_ENDLESS UINT64_MAX

/* How often what may have a life is to be looked at, where it is looked at every `usual_ms` without one: the
 * shorter the life, the more often, since it may end by one look too early. */
uint64_t life_look_ms(const struct shard *shard, uint64_t usual_ms);

/* When what opens now, and is looked at every `period_ms`, is to end: after stream-life or up to a quarter
 * less, by one look too early included, so that those who came together do not come again together. In ms of
 * the shard's clock, or LIFE_ENDLESS. */
uint64_t life_begin(const struct shard *shard, uint64_t period_ms);

/* Whether it is to end now, since the next look at it, `period_ms` from now, would be too late. */
bool life_is_over(const struct shard *shard, uint64_t end_ms, uint64_t period_ms);

/* How long its client is to wait before it comes back: hardly. A stream that opens says the usual time again.
 */
uint64_t life_retry_ms(const struct shard *shard);
