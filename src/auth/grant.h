/* SPDX-License-Identifier: MIT */
#pragma once

/* A grant: who asks, and what he may, as a token or a publisher key says it. Immutable once made and counted
 * atomically: any thread. What a channel's rules say besides is for auth/access.h. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define GRANT_KEY_PRINT_BYTES 16u

/* Patterns of channel names (base/pattern.h), valid ones. */
struct grant_patterns {
    size_t count;
    struct text *items; /* in one allocation with their bytes */
};

struct grant {
    _Atomic unsigned references; /* first */
    char *subject;               /* `sub`, or the publisher key's name; empty when the token has none */
    char *id;                    /* `jti`; empty when the token has none */
    int64_t issued_ms;           /* `iat` on the wall clock; INT64_MIN when the token does not say */
    /* On the wall clock, the leeway included: what hangs on the grant ends then; INT64_MAX never. */
    int64_t expires_ms;
    bool is_admin;
    bool is_key; /* a publisher key, which has no patterns */
    struct grant_patterns subscribe;
    struct grant_patterns publish;
    unsigned char key_print[GRANT_KEY_PRINT_BYTES]; /* of the key that made it, see auth_keys_hold */
};

/* One reference, never expiring, without rights. NULL when memory is out. */
struct grant *grant_new(struct text subject, struct text id);
struct grant *grant_ref(struct grant *grant);
void grant_unref(struct grant *grant); /* NULL is allowed */

/* Whether one of the patterns covers the channel. */
bool grant_patterns_cover(const struct grant_patterns *patterns, struct text channel);
