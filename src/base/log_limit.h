/* SPDX-License-Identifier: MIT */
#pragma once

/* How often an event may be logged: LOG_BURST times in LOG_WINDOW_MS; the rest is counted.
 *
 * Any thread; nothing allocated, nothing locked. Time comes from the caller.
 */

#include <stdbool.h>
#include <stdint.h>

#define LOG_BURST 10u
#define LOG_WINDOW_MS 10000u
#define LOG_LIMIT_SLOTS 128u /* power of two; events beyond share slots, and so their limit */

struct log_limit_slot {
    const char *_Atomic event; /* NULL: free; never changes once set */
    _Atomic uint64_t state;    /* begin of the window in ms, and in the low bits how often it was asked for */
    _Atomic int level;         /* of the last line asked for */
};

/* Zeroed at first. */
struct log_limit {
    struct log_limit_slot slots[LOG_LIMIT_SLOTS];
};

struct log_left_out {
    const char *event;
    int level;
    uint32_t count;
};

/* Whether a line of this event may be written now; counts it if not. `event` lives as long as the limit. Call
 * log_limit_collect for the same time before. */
bool log_limit_admit(struct log_limit *limit, const char *event, int level, uint64_t now_ms);

/* Finds the next event from slot *at on that had lines left out and whose window is over (or any, if
 * `is_last`), and forgets them. Returns false when there is no more. */
bool log_limit_collect(struct log_limit *limit, uint64_t now_ms, bool is_last, unsigned *at,
                       struct log_left_out *left_out);
