/* SPDX-License-Identifier: MIT */
#pragma once

/* A set of keys in one file (JWKS, RFC 7517, section 5). Pure; any thread. */

#include "auth/verifier.h"
#include "base/text.h"

#define JWKS_FAULT_MAX (VERIFIER_FAULT_MAX + 64u)

/* Appends the keys to `verifiers`, of which `*count` are there and `most` may be, and passes over those that
 * are for something else. Returns 0, -ENOMEM or -EINVAL with `fault` the end of a sentence that begins with
 * the file; those appended by then are the caller's in any case. */
int jwks_parse(struct verifier *verifiers, size_t *count, size_t most, struct text file,
               char fault[JWKS_FAULT_MAX]);
