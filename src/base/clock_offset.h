/* SPDX-License-Identifier: MIT */
#pragma once

/* By how much another machine's clock is ahead of clock_monotonic: between two bounds, learnt from questions
 * that it answers with its time, which it read somewhere between the question and the answer. Each answer can
 * only narrow the bounds, whatever its own delay was; with time they widen, because clocks drift, and when
 * the two contradict each other the clock has been set.
 *
 * A value type; any thread. All zeros is nothing known.
 */

#include <stdbool.h>
#include <stdint.h>

struct clock_offset {
    bool is_known;
    int64_t least_us;
    int64_t most_us;
    int64_t noted_us;
};

/* Asked at `asked_ns` and answered at `answered_ns` on clock_monotonic_ns: `their_ms`, rounded down. */
void clock_offset_note(struct clock_offset *offset, uint64_t asked_ns, uint64_t answered_ns,
                       int64_t their_ms);

/* The upper bound in milliseconds, rounded up; something must be known. */
int64_t clock_offset_most_ms(const struct clock_offset *offset);
