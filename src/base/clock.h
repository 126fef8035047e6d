/* SPDX-License-Identifier: MIT */
#pragma once

/* Time in integers. Any thread. */

#include <stdint.h>

/* Milliseconds of a clock that is never set; for deadlines and durations. */
uint64_t clock_monotonic_ms(void);

/* The same in nanoseconds; for measuring. */
uint64_t clock_monotonic_ns(void);

/* Milliseconds since 1970; for showing to people, never for order. */
int64_t clock_wall_ms(void);
