/* SPDX-License-Identifier: MIT */
#pragma once

/* Patterns as Redis matches names: `*`, `?`, `[a-z]`, `[^a-z]` and a backslash before what is meant as it is.
 * Hostile input; any thread. A compiled pattern takes the same few steps for each byte of a name, whatever it
 * looks like: many names are held against it at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most bytes of a pattern. */
#define GLOB_MAX 255u
/* A bit for each place between what takes one byte, and before and behind all of it. */
#define GLOB_WORDS 4u

struct glob {
    size_t count;                    /* of what takes one byte */
    uint64_t stars[GLOB_WORDS];      /* places where any bytes may stand */
    uint64_t takes[256][GLOB_WORDS]; /* for each byte: places behind which it may stand next */
};

/* `len` is at most GLOB_MAX. */
void glob_compile(struct glob *glob, const char *pattern, size_t len);

bool glob_matches(const struct glob *glob, const char *text, size_t len);
