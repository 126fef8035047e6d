/* SPDX-License-Identifier: MIT */
#include "shard/comeback.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "shard/shard.h"
#include "tables/closes.h"
#include "tables/errors.h"

/* Where another process listens at the same addresses already. Not nothing: what a client has sent is to be
 * answered, and its end to be seen by it, before it comes. */
#define COMEBACK_SUCCEEDED_MS 100u

uint64_t comeback_ms(const struct shard *shard)
{
    const struct options *options = shard->options;
    if (shard->group->is_succeeded)
        return random_jitter(COMEBACK_SUCCEEDED_MS);
    return random_jitter(options->retry_ms) + (options->alternatives.count > 0 ? 0 : options->drain_time_ms);
}

uint32_t comeback_s(const struct shard *shard)
{
    uint64_t seconds = (comeback_ms(shard) + random_below(1000)) / 1000;
    return seconds > 0 ? (uint32_t)seconds : 1;
}

static const char *comeback_alternative(const struct shard *shard, size_t index)
{
    return shard->options->alternatives.items[index % shard->options->alternatives.count];
}

size_t comeback_say(const struct shard *shard, char to[COMEBACK_TEXT_MAX])
{
    const size_t count = shard->options->alternatives.count;
    uint64_t wait_ms = comeback_ms(shard);
    size_t len = (size_t)snprintf(to, COMEBACK_TEXT_MAX, "%s after %" PRIu64 ".%03u s",
                                  close_text(CLOSE_RESTART), wait_ms / 1000, (unsigned)(wait_ms % 1000));
    if (count == 0)
        return len;
    const char *url = comeback_alternative(shard, random_below(count));
    if (len + strlen(", at ") + strlen(url) < COMEBACK_TEXT_MAX)
        len += (size_t)snprintf(to + len, COMEBACK_TEXT_MAX - len, ", at %s", url);
    return len;
}

void comeback_append_alternatives(struct buf *to, const struct shard *shard, const char *quote)
{
    const size_t count = shard->options->alternatives.count;
    size_t first = count > 0 ? random_below(count) : 0;
    for (size_t i = 0; i < count; i++) {
        buf_append_text(to, i > 0 ? ", " : "");
        buf_append_text(to, quote);
        buf_append_text(to, comeback_alternative(shard, first + i));
        buf_append_text(to, quote);
    }
}

/* Neither the sentence nor a URL has anything in it that JSON would have escaped. */
void comeback_append_object(struct buf *to, const struct shard *shard)
{
    char seconds[32];
    uint64_t wait_ms = comeback_ms(shard);
    snprintf(seconds, sizeof(seconds), "%" PRIu64 ".%03u", wait_ms / 1000, (unsigned)(wait_ms % 1000));
    buf_append_text(to, "{\"error\":\"");
    buf_append_text(to, error_name(ERROR_STOPPING));
    buf_append_text(to, "\",\"message\":\"");
    buf_append_text(to, close_text(CLOSE_RESTART));
    buf_append_text(to, "\",\"retry_after\":");
    buf_append_text(to, seconds);
    if (shard->options->alternatives.count > 0) {
        buf_append_text(to, ",\"alternatives\":[");
        comeback_append_alternatives(to, shard, "\"");
        buf_append_char(to, ']');
    }
    buf_append_char(to, '}');
}
