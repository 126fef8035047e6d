/* SPDX-License-Identifier: MIT */
#pragma once

/* The revocations that a shard knows of. One thread. */

#include <stdbool.h>
#include <stddef.h>

#include "auth/grant.h"
#include "core/revocation.h"

struct revoked;

/* NULL when memory is out. */
struct revoked *revoked_new(void);
void revoked_free(struct revoked *revoked); /* NULL is allowed */

/* Copies. Returns 0, or -ENOMEM. */
int revoked_add(struct revoked *revoked, const struct revocation *revocation, int64_t now_ms);

/* Whether the grant is among them. */
bool revoked_has(const struct revoked *revoked, const struct grant *grant);

/* Whether one revocation means the grant. */
bool revocation_means(const struct revocation *revocation, const struct grant *grant);
