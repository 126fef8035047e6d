/* SPDX-License-Identifier: MIT */
#pragma once

/* One way in which messages come through a network, and what was seen of it. The messages of a check have
 * marks as their data, which are found in whatever form they come. Times are of the monotonic clock in
 * nanoseconds, 0 for never. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Those published one after another, and one at the end, which tells who is still there. */
#define WAY_MESSAGES_MAX 32u
#define WAY_FAULT_MAX 200u
#define WAY_MARK_MAX 40u

struct way {
    const char *name;
    const char
        *mark; /* how the data of every message of this check begins; a number and a full stop follow */
    uint64_t begun_ns;
    uint64_t opened_ns; /* the first bytes that say that messages come from here on */
    uint64_t received_ns[WAY_MESSAGES_MAX];
    unsigned doubled;
    uint64_t ended_ns;
    char fault[WAY_FAULT_MAX]; /* why it did not open or has ended; "" when there is nothing to say */
    struct buf pending;        /* what came last, as far as a mark may have begun in it */
};

/* Prepares it; the texts are borrowed for as long as it lives. */
void way_init(struct way *way, const char *name, const char *mark);
void way_deinit(struct way *way);

/* Writes the data of a message: WAY_MARK_MAX bytes, terminated. */
void way_make_mark(char to[WAY_MARK_MAX], const char *mark, unsigned number);

/* Looks for marks in what has come, which may be cut anywhere. */
void way_take(struct way *way, const char *bytes, size_t len, uint64_t now_ns);

/* Only the first end counts. */
void way_end(struct way *way, uint64_t now_ns, const char *format, ...) __attribute__((format(printf, 3, 4)));

static inline bool way_is_open(const struct way *way)
{
    return way->opened_ns && !way->ended_ns;
}
