/* SPDX-License-Identifier: MIT */
#include "shard/bearers.h"

#include "auth/revoked.h"
#include "base/clock.h"
#include "shard/shard.h"

/* Grants end by the wall clock, timers go by another: when that one is set, it is noticed within this time.
 */
#define BEARER_LOOK_MS 3600000

static void bearer_arm(struct bearer *bearer)
{
    struct shard *shard = bearer->table->shard;
    int64_t now_ms = clock_wall_ms();
    int64_t expires_ms = bearer->grant->expires_ms;
    if (expires_ms == INT64_MAX)
        return;
    int64_t left_ms = expires_ms <= now_ms                   ? 0
                      : expires_ms > now_ms + BEARER_LOOK_MS ? BEARER_LOOK_MS
                                                             : expires_ms - now_ms;
    timer_arm(&shard->wheel, &bearer->timer, shard->now_ms + (uint64_t)left_ms);
}

/* It has a grant and is open, or one of these not any more. */
static void bearer_link(struct bearer *bearer)
{
    list_append(&bearer->table->bearers, &bearer->link);
    bearer->table->count++;
    bearer_arm(bearer);
}

static void bearer_unlink(struct bearer *bearer)
{
    list_remove(&bearer->link);
    bearer->table->count--;
    timer_stop(&bearer->table->shard->wheel, &bearer->timer);
}

static void bearer_fire(struct timer *timer)
{
    struct bearer *bearer = container_of(timer, struct bearer, timer);
    if (clock_wall_ms() < bearer->grant->expires_ms) {
        bearer_arm(bearer);
        return;
    }
    bearer->over(bearer, ERROR_TOKEN_EXPIRED);
}

void bearer_identify(struct bearer *bearer, struct grant *grant)
{
    bool is_open = bearer->over != NULL;
    if (is_open && bearer->grant)
        bearer_unlink(bearer);
    grant_unref(bearer->grant);
    bearer->grant = grant;
    if (is_open && grant)
        bearer_link(bearer);
}

void bearer_begin(struct bearer *bearer, struct bearer_table *table,
                  void (*over)(struct bearer *bearer, enum error_code why))
{
    bearer->table = table;
    bearer->over = over;
    list_init(&bearer->link);
    timer_init(&bearer->timer, bearer_fire);
    if (bearer->grant)
        bearer_link(bearer);
}

void bearer_end(struct bearer *bearer)
{
    bearer_identify(bearer, NULL);
    bearer->over = NULL;
}

/* What one of them does may end others: none is held on to. */
void bearer_table_revoke(struct bearer_table *table, const struct revocation *revocation)
{
    struct list left;
    list_init(&left);
    list_splice(&left, &table->bearers);
    list_drain (link, &left) {
        struct bearer *bearer = container_of(link, struct bearer, link);
        list_append(&table->bearers, link);
        if (revocation_means(revocation, bearer->grant))
            bearer->over(bearer, ERROR_TOKEN_REVOKED);
    }
}

void bearer_table_init(struct bearer_table *table, struct shard *shard)
{
    *table = (struct bearer_table){.shard = shard};
    list_init(&table->bearers);
}
