/* SPDX-License-Identifier: MIT */
#include "broker/redis/limits.h"

#include <inttypes.h>
#include <stdio.h>

#include "config/channel_options.h"

struct text limits_format(char to[LIMITS_TEXT_MAX], const struct options *options, struct text channel)
{
    struct channel_options found;
    channel_options_resolve(&found, options, channel);
    snprintf(to, LIMITS_TEXT_MAX, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d",
             found.history_size, found.history_ttl_ms, found.channel_ttl_ms, found.idempotency_time_ms,
             found.history_bytes, found.events);
    return text_of(to);
}

bool limits_are_of_tree(const struct options *options, struct text channel)
{
    struct channel_options found;
    channel_options_resolve(&found, options, channel);
    return found.tree;
}

uint64_t limits_life_ms(const struct options *options, struct text channel)
{
    struct channel_options found;
    channel_options_resolve(&found, options, channel);
    return found.history_ttl_ms + found.channel_ttl_ms;
}

struct retention limits_retention(const struct options *options, struct text channel)
{
    struct channel_options found;
    channel_options_resolve(&found, options, channel);
    return (struct retention){found.history_size, found.history_bytes, found.history_ttl_ms};
}
