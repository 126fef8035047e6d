/* SPDX-License-Identifier: MIT */
#pragma once

/* Patterns as Redis matches names: `*`, `?`, `[a-z]`, `[^a-z]` and a backslash before what is meant as it is.
 * Hostile input; any thread. */

#include <stdbool.h>
#include <stddef.h>

/* Takes at most about `pattern_len` times `len` steps. */
bool glob_matches(const char *pattern, size_t pattern_len, const char *text, size_t len);
