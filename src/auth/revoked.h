/* SPDX-License-Identifier: MIT */
#pragma once

/* The revocations that a shard knows of, each until it may be forgotten. One thread. */

#include <stdbool.h>
#include <stddef.h>

#include "auth/grant.h"
#include "core/revocation.h"

#define REVOKED_MAX 100000u

struct revoked;

/* NULL when memory is out. */
struct revoked *revoked_new(void);
void revoked_free(struct revoked *revoked); /* NULL is allowed */

/* Copies; of two that mean the same the one that reaches further counts. Forgets from time to time those that
 * are over on the wall clock `now_ms`. Returns 0, -ENOMEM, or -ENOSPC when
 * there are REVOKED_MAX. */
int revoked_add(struct revoked *revoked, const struct revocation *revocation, int64_t now_ms);

/* Whether that one can be added: there is one that means the same, or room. */
bool revoked_has_room(struct revoked *revoked, enum revocation_kind kind, struct text text, int64_t now_ms);

size_t revoked_count(const struct revoked *revoked);

/* Whether the grant is among them. Publisher keys never are: they end with their line in the file. */
bool revoked_has(const struct revoked *revoked, const struct grant *grant);

/* Whether one revocation means the grant. */
bool revocation_means(const struct revocation *revocation, const struct grant *grant);
