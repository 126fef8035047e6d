/* SPDX-License-Identifier: MIT */
#include "base/clock_offset.h"

/* NTP slews a clock by 500 ppm at most. */
#define CLOCK_DRIFT_PER 2000
#define CLOCK_MS_MAX (INT64_MAX / 4000)

static int64_t clock_offset_greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void clock_offset_note(struct clock_offset *offset, uint64_t asked_ns, uint64_t answered_ns, int64_t their_ms)
{
    int64_t asked_us = (int64_t)(asked_ns / 1000);
    int64_t answered_us = (int64_t)(answered_ns / 1000);
    if (their_ms < 0 || their_ms > CLOCK_MS_MAX)
        return;
    int64_t least_us = their_ms * 1000 - answered_us - 1;
    int64_t most_us = their_ms * 1000 + 999 - asked_us;
    int64_t drift_us = (answered_us - offset->noted_us) / CLOCK_DRIFT_PER + 1;
    int64_t kept_least_us = clock_offset_greater(least_us, offset->least_us - drift_us);
    int64_t kept_most_us = -clock_offset_greater(-most_us, -(offset->most_us + drift_us));
    bool is_set_anew = !offset->is_known || kept_least_us > kept_most_us;
    *offset = (struct clock_offset){
        .is_known = true,
        .least_us = is_set_anew ? least_us : kept_least_us,
        .most_us = is_set_anew ? most_us : kept_most_us,
        .noted_us = answered_us,
    };
}

int64_t clock_offset_most_ms(const struct clock_offset *offset)
{
    int64_t ms = offset->most_us / 1000;
    return ms * 1000 < offset->most_us ? ms + 1 : ms;
}
