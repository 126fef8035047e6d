/* SPDX-License-Identifier: MIT */
#include "auth/grant.h"

#include <stdlib.h>

#include "base/pattern.h"

static char *grant_copy(struct text text)
{
    return text.len > 0 ? strndup(text.bytes, text.len) : strdup("");
}

struct grant *grant_new(struct text subject, struct text id)
{
    struct grant *grant = calloc(1, sizeof(*grant));
    if (!grant)
        return NULL;
    atomic_init(&grant->references, 1);
    grant->issued_ms = INT64_MIN;
    grant->expires_ms = INT64_MAX;
    grant->subject = grant_copy(subject);
    grant->id = grant_copy(id);
    if (grant->subject && grant->id)
        return grant;
    grant_unref(grant);
    return NULL;
}

struct grant *grant_ref(struct grant *grant)
{
    atomic_fetch_add_explicit(&grant->references, 1, memory_order_relaxed);
    return grant;
}

void grant_unref(struct grant *grant)
{
    if (!grant || atomic_fetch_sub_explicit(&grant->references, 1, memory_order_acq_rel) != 1)
        return;
    free(grant->subscribe.items);
    free(grant->publish.items);
    free(grant->subject);
    free(grant->id);
    free(grant);
}

bool grant_patterns_cover(const struct grant_patterns *patterns, struct text channel)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (pattern_matches(patterns->items[i], channel))
            return true;
    return false;
}
