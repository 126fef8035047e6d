/* SPDX-License-Identifier: MIT */
#include "shard/bearers.h"

#include <stdio.h>

#include "auth/revoked.h"
#include "auth/token.h"
#include "base/clock.h"
#include "shard/shard.h"
#include "shard/tls.h"

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

/* Whether a grant that was good once counts no more, before its time. */
static bool bearer_is_revoked(const struct bearer *bearer)
{
    const struct shard *shard = bearer->table->shard;
    return (shard->revoked && revoked_has(shard->revoked, bearer->grant)) ||
           !auth_keys_hold(shard->keys, bearer->grant);
}

static void bearer_fire(struct timer *timer)
{
    struct bearer *bearer = container_of(timer, struct bearer, timer);
    if (!bearer->grant)
        bearer->over(bearer, ERROR_NO_TOKEN);
    else if (bearer_is_revoked(bearer))
        bearer->over(bearer, ERROR_TOKEN_REVOKED);
    else if (clock_wall_ms() < bearer->grant->expires_ms)
        bearer_arm(bearer);
    else
        bearer->over(bearer, ERROR_TOKEN_EXPIRED);
}

/* While it is not known what is revoked, nobody can say that this is not. */
static enum error_code bearer_doubt(const struct shard *shard, const struct grant *grant,
                                    char fault[AUTH_FAULT_MAX])
{
    if (grant->is_key || shard->revocations.are_known)
        return ERROR_NONE;
    snprintf(fault, AUTH_FAULT_MAX,
             "which tokens are revoked is not known yet: this node waits for Redis; come again");
    return ERROR_BROKER_DOWN;
}

enum error_code bearer_verify(struct bearer *bearer, const struct shard *shard, struct text token,
                              char fault[AUTH_FAULT_MAX])
{
    struct grant *grant;
    enum error_code error =
        token_verify(&grant, shard->keys, shard->options, shard->revoked, token, clock_wall_ms(), fault);
    if (error == ERROR_NONE)
        error = bearer_doubt(shard, grant, fault);
    if (error == ERROR_NONE)
        bearer_identify(bearer, grant);
    else
        grant_unref(grant);
    return error;
}

enum error_code bearer_check(const struct bearer *bearer, const struct shard *shard, enum access_verb verb,
                             struct text channel, char fault[AUTH_FAULT_MAX])
{
    return access_check(bearer->grant, shard->keys, shard->options, verb, channel, fault);
}

enum error_code bearer_admits(const struct bearer *bearer, const struct shard *shard,
                              const struct subscriber *subscriber, struct text channel)
{
    char fault[AUTH_FAULT_MAX];
    enum error_code error = bearer_check(bearer, shard, ACCESS_SUBSCRIBE, channel, fault);
    bool is_full = subscriber->count + subscriber_spread_count(subscriber) >=
                   shard->options->max_channels_per_connection;
    return error == ERROR_NONE && is_full ? ERROR_TOO_MANY_CHANNELS : error;
}

void bearer_identify(struct bearer *bearer, struct grant *grant)
{
    bool is_open = bearer->over != NULL;
    if (is_open && bearer->grant)
        bearer_unlink(bearer);
    else if (is_open)
        timer_stop(&bearer->table->shard->wheel, &bearer->timer);
    grant_unref(bearer->grant);
    bearer->grant = grant;
    if (is_open && grant)
        bearer_link(bearer);
}

void bearer_share(struct bearer *bearer, const struct bearer *with)
{
    bearer_identify(bearer, with->grant ? grant_ref(with->grant) : NULL);
}

enum error_code bearer_certify(struct bearer *bearer, const struct shard *shard, int fd)
{
    struct grant *grant = tls_grant(fd);
    char fault[AUTH_FAULT_MAX];
    if (!grant)
        return ERROR_NONE;
    if (bearer_doubt(shard, grant, fault))
        return ERROR_BROKER_DOWN;
    if (grant->expires_ms <= clock_wall_ms())
        return ERROR_TOKEN_EXPIRED;
    if (shard->revoked && revoked_has(shard->revoked, grant))
        return ERROR_TOKEN_REVOKED;
    bearer_identify(bearer, grant_ref(grant));
    return ERROR_NONE;
}

struct persona *bearer_introduce(const struct bearer *bearer, struct persona *said)
{
    const struct grant *grant = bearer->grant;
    if (!grant || grant->is_key || grant->subject[0] == '\0')
        return persona_ref(said);
    return persona_new(text_of(grant->subject), said ? persona_info(said) : (struct text){0});
}

void bearer_begin(struct bearer *bearer, struct bearer_table *table,
                  void (*over)(struct bearer *bearer, enum error_code why))
{
    bearer->table = table;
    bearer->over = over;
    list_init(&bearer->link);
    timer_init(&bearer->timer, bearer_fire);
    if (!bearer->grant)
        return;
    bearer_link(bearer);
    if (bearer_is_revoked(bearer))
        over(bearer, ERROR_TOKEN_REVOKED);
}

void bearer_await(struct bearer *bearer, uint64_t most_ms)
{
    struct shard *shard = bearer->table->shard;
    if (!bearer->grant)
        timer_arm(&shard->wheel, &bearer->timer, shard->now_ms + most_ms);
}

void bearer_end(struct bearer *bearer)
{
    bearer_identify(bearer, NULL);
    bearer->over = NULL;
}

/* Ends those that a revocation means; or, without one, that the keys do not hold. What one of them does may
 * end others: none is held on to. */
static void bearer_table_end(struct bearer_table *table, const struct revocation *revocation)
{
    const struct auth_keys *keys = table->shard->keys;
    struct list left;
    list_init(&left);
    list_splice(&left, &table->bearers);
    list_drain (link, &left) {
        struct bearer *bearer = container_of(link, struct bearer, link);
        list_append(&table->bearers, link);
        if (revocation ? revocation_means(revocation, bearer->grant) : !auth_keys_hold(keys, bearer->grant))
            bearer->over(bearer, ERROR_TOKEN_REVOKED);
    }
}

void bearer_table_look(struct bearer_table *table)
{
    bearer_table_end(table, NULL);
}

void bearer_table_revoke(struct bearer_table *table, const struct revocation *revocation)
{
    bearer_table_end(table, revocation);
}

void bearer_table_init(struct bearer_table *table, struct shard *shard)
{
    *table = (struct bearer_table){.shard = shard};
    list_init(&table->bearers);
}
