/* SPDX-License-Identifier: MIT */
#include "shard/rates.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buckets.h"
#include "base/clock.h"
#include "config/channel_options.h"
#include "shard/shard.h"

#define RATES_NS_PER_S 1000000000u

/* Each has buckets of its own, so that many channels take nothing from addresses. */
enum rate {
    RATE_CONNECT,
    RATE_PUBLISH,
    RATE_PUBLISH_TOKEN,
    RATE_PUBLISH_CHANNEL,
    RATE_SUBSCRIBE,
    RATE_SUBSCRIBE_TOKEN,
    RATE_SUBSCRIBE_CHANNEL,
    RATE_COUNT
};

static const struct rate_row {
    const char *option;
    const char *what; /* of whom the rate is, and what he does */
    enum error_code error;
    enum metric metric;
} rate_rows[RATE_COUNT] = {
    [RATE_CONNECT] = {"connect-rate", "this address connects", ERROR_CONNECT_RATE, METRIC_CONNECT_RATE},
    [RATE_PUBLISH] = {"publish-rate", "this address publishes", ERROR_PUBLISH_RATE, METRIC_PUBLISH_RATE},
    [RATE_PUBLISH_TOKEN] = {"publish-rate-per-token", "this token publishes", ERROR_PUBLISH_RATE,
                            METRIC_PUBLISH_RATE},
    [RATE_PUBLISH_CHANNEL] = {"publish-rate-per-channel", "this channel is published to", ERROR_PUBLISH_RATE,
                              METRIC_PUBLISH_RATE},
    [RATE_SUBSCRIBE] = {"subscribe-rate", "this address subscribes", ERROR_SUBSCRIBE_RATE,
                        METRIC_SUBSCRIBE_RATE},
    [RATE_SUBSCRIBE_TOKEN] = {"subscribe-rate-per-token", "this token subscribes", ERROR_SUBSCRIBE_RATE,
                              METRIC_SUBSCRIBE_RATE},
    [RATE_SUBSCRIBE_CHANNEL] = {"subscribe-rate-per-channel", "this channel is subscribed to",
                                ERROR_SUBSCRIBE_RATE, METRIC_SUBSCRIBE_RATE},
};

struct rates {
    struct buckets *buckets[RATE_COUNT];
};

struct rates *rates_new(void)
{
    struct rates *rates = calloc(1, sizeof(*rates));
    bool is_whole = rates != NULL;
    for (unsigned i = 0; is_whole && i < RATE_COUNT; i++)
        is_whole = (rates->buckets[i] = buckets_new()) != NULL;
    if (is_whole)
        return rates;
    rates_free(rates);
    return NULL;
}

void rates_free(struct rates *rates)
{
    for (unsigned i = 0; rates && i < RATE_COUNT; i++)
        buckets_free(rates->buckets[i]);
    free(rates);
}

struct asker rates_asker(const struct limit_key *key, const struct grant *grant)
{
    struct asker by = {0};
    if (key && !(grant && (grant->is_key || grant->is_admin)))
        by.address = (struct text){(const char *)key->bytes, key->len};
    if (grant)
        by.subject = text_of(grant->subject);
    return by;
}

/* Whole seconds, rounded up. */
static uint32_t rates_seconds(uint64_t wait_ns)
{
    return (uint32_t)((wait_ns + RATES_NS_PER_S - 1) / RATES_NS_PER_S);
}

/* Returns after how many seconds there is another one; 0 when there was one now. */
static uint32_t rates_take(struct shard *shard, enum rate which, uint64_t per_second, struct text key)
{
    const struct bucket_rate rate = {per_second, shard->options->rate_burst_ms};
    if (per_second == 0 || key.len == 0)
        return 0;
    uint64_t wait_ns =
        buckets_take(shard->group->rates->buckets[which], key.bytes, key.len, &rate, clock_monotonic_ns());
    return rates_seconds(wait_ns);
}

enum error_code rates_admit_connection(struct shard *shard, const struct limit_key *key)
{
    const struct text address = {(const char *)key->bytes, key->len};
    if (rates_take(shard, RATE_CONNECT, shard->options->connect_rate, address) == 0)
        return ERROR_NONE;
    shard_count(shard, rate_rows[RATE_CONNECT].metric, 1);
    return rate_rows[RATE_CONNECT].error;
}

struct rate_demand {
    enum rate which;
    uint64_t per_second;
    struct text key;
};

static enum error_code rates_refuse(struct shard *shard, const struct rate_demand *demand,
                                    uint32_t retry_after_s, char fault[PUBLISH_FAULT_MAX])
{
    const struct rate_row *row = &rate_rows[demand->which];
    shard_count(shard, row->metric, 1);
    snprintf(fault, PUBLISH_FAULT_MAX, "%s more than %llu times a second (%s); try again in %u s", row->what,
             (unsigned long long)demand->per_second, row->option, (unsigned)retry_after_s);
    return row->error;
}

static enum error_code rates_admit(struct shard *shard, const struct rate_demand *demands, unsigned count,
                                   uint32_t *retry_after_s, char fault[PUBLISH_FAULT_MAX])
{
    for (unsigned i = 0; i < count; i++) {
        const struct rate_demand *demand = &demands[i];
        *retry_after_s = rates_take(shard, demand->which, demand->per_second, demand->key);
        if (*retry_after_s > 0)
            return rates_refuse(shard, demand, *retry_after_s, fault);
    }
    return ERROR_NONE;
}

/* Of what a subscription to the channel takes. */
static void rates_list_subscription(struct rate_demand demands[3], const struct options *options,
                                    const struct asker *by, struct text channel)
{
    struct channel_options found;
    channel_options_resolve(&found, options, channel);
    demands[0] = (struct rate_demand){RATE_SUBSCRIBE, options->subscribe_rate, by->address};
    demands[1] = (struct rate_demand){RATE_SUBSCRIBE_TOKEN, options->subscribe_rate_per_token, by->subject};
    demands[2] = (struct rate_demand){RATE_SUBSCRIBE_CHANNEL, found.subscribe_rate_per_channel, channel};
}

static enum error_code rates_ask(struct shard *shard, const struct rate_demand *demand, unsigned tokens,
                                 uint32_t *retry_after_s, char fault[PUBLISH_FAULT_MAX])
{
    const struct bucket_rate rate = {demand->per_second, shard->options->rate_burst_ms};
    if (demand->per_second == 0 || demand->key.len == 0)
        return ERROR_NONE;
    uint64_t wait_ns = buckets_ask(shard->group->rates->buckets[demand->which], demand->key.bytes,
                                   demand->key.len, &rate, tokens, clock_monotonic_ns());
    if (wait_ns == 0)
        return ERROR_NONE;
    *retry_after_s = wait_ns < UINT64_MAX ? rates_seconds(wait_ns) : 0;
    enum error_code error = rates_refuse(shard, demand, *retry_after_s, fault);
    if (*retry_after_s == 0)
        snprintf(fault, PUBLISH_FAULT_MAX, "%s %u times at once, more than %s and rate-burst ever allow",
                 rate_rows[demand->which].what, tokens, rate_rows[demand->which].option);
    return error;
}

enum error_code rates_ask_subscription(struct shard *shard, const struct asker *by, struct text channel,
                                       unsigned count, uint32_t *retry_after_s, char fault[PUBLISH_FAULT_MAX])
{
    struct rate_demand demands[3];
    enum error_code error = ERROR_NONE;
    rates_list_subscription(demands, shard->options, by, channel);
    for (unsigned i = 0; error == ERROR_NONE && i < 3; i++) {
        bool is_of_channel = demands[i].which == RATE_SUBSCRIBE_CHANNEL;
        error = rates_ask(shard, &demands[i], is_of_channel ? 1 : count, retry_after_s, fault);
    }
    return error;
}

void rates_take_subscription(struct shard *shard, const struct asker *by, struct text channel)
{
    struct rate_demand demands[3];
    rates_list_subscription(demands, shard->options, by, channel);
    for (unsigned i = 0; i < 3; i++)
        (void)rates_take(shard, demands[i].which, demands[i].per_second, demands[i].key);
}

/* What is published to a channel, or below it. */
static enum error_code rates_admit_in(struct shard *shard, struct text channel, uint32_t *retry_after_s,
                                      char fault[PUBLISH_FAULT_MAX])
{
    struct channel_options found;
    channel_options_resolve(&found, shard->options, channel);
    const struct rate_demand demand = {RATE_PUBLISH_CHANNEL, found.publish_rate_per_channel, channel};
    return rates_admit(shard, &demand, 1, retry_after_s, fault);
}

/* What is published below a tree counts there too. One that has too many trees above it is refused later. */
static enum error_code rates_admit_trees(struct shard *shard, struct text channel, uint32_t *retry_after_s,
                                         char fault[PUBLISH_FAULT_MAX])
{
    struct channel_trees trees;
    enum error_code error = ERROR_NONE;
    if (channel_trees_find(&trees, shard->options, channel))
        return ERROR_NONE;
    for (unsigned i = 0; error == ERROR_NONE && i < trees.count; i++)
        error = rates_admit_in(shard, (struct text){channel.bytes, trees.lens[i]}, retry_after_s, fault);
    return error;
}

static enum error_code rates_admit_publish(const struct publish_guard *guard, const struct asker *by,
                                           struct text channel, uint32_t *retry_after_s,
                                           char fault[PUBLISH_FAULT_MAX])
{
    struct shard *shard = container_of(guard, struct shard, guard);
    const struct options *options = shard->options;
    const struct rate_demand demands[] = {
        {RATE_PUBLISH, options->publish_rate, by->address},
        {RATE_PUBLISH_TOKEN, options->publish_rate_per_token, by->subject},
    };
    enum error_code error = rates_admit(shard, demands, ARRAY_LENGTH(demands), retry_after_s, fault);
    if (error != ERROR_NONE || !channel_options_limit_publishing(options))
        return error;
    error = rates_admit_in(shard, channel, retry_after_s, fault);
    return error != ERROR_NONE ? error : rates_admit_trees(shard, channel, retry_after_s, fault);
}

void rates_guard(struct shard *shard)
{
    shard->guard.admit = rates_admit_publish;
    shard->hub.guard = &shard->guard;
}
