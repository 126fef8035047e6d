/* SPDX-License-Identifier: MIT */
#pragma once

/* How often somebody may connect, subscribe and publish: by his address, by his token and by channel, counted
 * over all shards (publish-rate and its like). Lock-free; what takes a shard runs on its thread.
 *
 * Asked in this order, so that who is refused by his address takes nothing from a channel's.
 */

#include "auth/grant.h"
#include "core/publish.h"
#include "shard/limits.h"
#include "tables/errors.h"

struct rates;
struct shard;

/* NULL when memory is out. */
struct rates *rates_new(void);
void rates_free(struct rates *rates);

/* Who asks. An application's publisher key, or an admin's token, stands for many clients: its address does
 * not count. `grant` may be NULL. */
struct asker rates_asker(const struct limit_key *key, const struct grant *grant);

/* Whether one more connection may come from there. */
enum error_code rates_admit_connection(struct shard *shard, const struct limit_key *key);

/* Whether a subscription to the channel may begin, which is one of `count` that begin together or not at all:
 * nothing is taken. Returns ERROR_NONE, or why not, with `fault` a sentence and after how many seconds it is
 * worth trying again; 0 when so many at once are never let in. */
enum error_code rates_ask_subscription(struct shard *shard, const struct asker *by, struct text channel,
                                       unsigned count, uint32_t *retry_after_s,
                                       char fault[PUBLISH_FAULT_MAX]);

/* Takes what the subscription to one channel costs, when all that begin with it have been asked for. */
void rates_take_subscription(struct shard *shard, const struct asker *by, struct text channel);

/* Has the shard's hub ask for each publish. */
void rates_guard(struct shard *shard);
