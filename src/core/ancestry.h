/* SPDX-License-Identifier: MIT */
#pragma once

/* The epochs that a log had before the one that it has, where its engine changed in a way that may have lost
 * messages; each with how much of it is left (section 2 of the architecture).
 *
 * A value type; any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/epoch.h"

#define ANCESTRY_MAX 8u

struct forebear {
    struct epoch epoch;
    bool is_doubtful; /* whether something is missing behind `shared`, or even before it, nobody knows */
    uint64_t shared;  /* up to this offset its messages are those of the log as it is */
};

struct ancestry {
    unsigned count;
    struct forebear forebears[ANCESTRY_MAX]; /* the newest first */
};

/* Adds the epoch that the log had until now. Those before it share no more than it does, and are doubtful
 * when it is; the eldest is forgotten when there is no room. */
void ancestry_add(struct ancestry *ancestry, const struct forebear *forebear);

/* NULL when it is none. */
const struct forebear *ancestry_find(const struct ancestry *ancestry, const struct epoch *epoch);

/* EPOCH-OFFSET of each with a space between, the newest first; a doubtful one without its offset. */
#define ANCESTRY_TEXT_MAX (ANCESTRY_MAX * (EPOCH_LEN + 1u + 20u + 1u))

/* Parses `len` hostile bytes. Returns 0 or -EINVAL. */
int ancestry_parse(struct ancestry *ancestry, const char *text, size_t len);

/* Writes at most ANCESTRY_TEXT_MAX bytes, not terminated. Returns the length. */
size_t ancestry_format(char *to, const struct ancestry *ancestry);
