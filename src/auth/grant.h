/* SPDX-License-Identifier: MIT */
#pragma once

/* A grant: who asks, and what he may, as a token or a publisher key says it. Immutable once made and counted
 * atomically: any thread. What holds for a channel besides is for auth/access.h. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pattern;

struct grant_patterns {
    size_t count;
    struct pattern *items;
};

struct grant {
    _Atomic unsigned references; /* first */
    char *subject;               /* `sub`, or the publisher key's name; empty when the token has none */
    char *id;                    /* `jti`; empty when the token has none */
    int64_t issued_ms;           /* `iat` on the wall clock; INT64_MIN when the token does not say */
    int64_t
        expires_ms; /* wall clock, the leeway included: what hangs on the grant ends then; INT64_MAX never */
    bool is_admin;
    bool is_key; /* a publisher key, which has no patterns */
    struct grant_patterns subscribe;
    struct grant_patterns publish;
};

struct grant *grant_ref(struct grant *grant);
void grant_unref(struct grant *grant); /* NULL is allowed */
