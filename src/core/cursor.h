/* SPDX-License-Identifier: MIT */
#pragma once

/* A cursor: where a subscriber stands in one or several channels.
 *
 * Text form: EPOCH-OFFSET, several joined by '.', see docs/PROTOCOL.md; behind it may stand a mark and a
 * number, which tell answers apart that end at the same place. An epoch whose random part is zeros
 * stands for a wild name (core/spread.h), or is a place in no log. Value types: no allocation, any
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/epoch.h"

#define CURSOR_CHANNELS_MAX 64u
/* Names of a subscription that stand for all channels below one; each has an entry besides. */
#define CURSOR_PATTERNS_MAX 8u
#define CURSOR_ENTRIES_MAX (CURSOR_CHANNELS_MAX + CURSOR_PATTERNS_MAX)
/* EPOCH '-' and 20 digits. */
#define POSITION_TEXT_MAX (EPOCH_LEN + 1u + 20u)
#define CURSOR_TEXT_MAX (CURSOR_ENTRIES_MAX * (POSITION_TEXT_MAX + 1u))
#define CURSOR_MARK '~'
#define CURSOR_MARK_MAX 21u /* with the digits of the number */

struct position {
    struct epoch epoch;
    uint64_t offset; /* of the last message seen; 0 is before the first */
};

enum start_kind {
    START_NOW,      /* only what comes next */
    START_EARLIEST, /* everything kept */
    START_LAST,     /* the last `last` messages */
    START_CURSOR,   /* after `at`; channels without an entry start at now */
    START_UNKNOWN,  /* after something that another server named: a reset, then everything kept */
    START_FIRST,    /* the first message, whatever is kept: no client says so */
};

/* Where a client wants to begin. */
struct start {
    enum start_kind kind;
    uint64_t last;
    uint64_t asked_ms; /* when the request came, on hub.now_ms; known to those that wait for a channel */
    unsigned count;
    struct position at[CURSOR_ENTRIES_MAX];
};

/* Parses what a client sent as cursor: `len` hostile bytes, a cursor or one of `earliest`, `now`, `last=N`.
 * Returns 0, -EINVAL if malformed (also an offset over 64 bits), -E2BIG if it names more than
 * CURSOR_CHANNELS_MAX channels, or has more than CURSOR_ENTRIES_MAX entries. */
int start_parse(struct start *start, const char *text, size_t len);

/* The entry for a channel whose log has `epoch`: an exact match before one that only shares the channel's
 * name; NULL if none. */
const struct position *start_find(const struct start *start, const struct epoch *epoch);

/* Parses one entry: `len` hostile bytes. Returns 0 or -EINVAL. */
int position_parse(struct position *position, const char *text, size_t len);

/* Writes one entry, not terminated. Returns its length, at most POSITION_TEXT_MAX. */
size_t position_format(char *to, const struct epoch *epoch, uint64_t offset);
