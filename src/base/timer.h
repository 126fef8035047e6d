/* SPDX-License-Identifier: MIT */
#pragma once

/* A hierarchical timer wheel with embedded entries: arming and stopping cost the same whatever the number of
 * timers, and allocate nothing (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987).
 *
 * One thread owns a wheel and its timers. Times are clock_monotonic_ms; resolution is TIMER_TICK_MS, and a
 * timer never fires early.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define TIMER_TICK_MS 4u
#define TIMER_LEVELS 5u
#define TIMER_SLOTS 64u

struct timer {
    struct list link;
    uint64_t due_tick;
    /* Called with the timer stopped; may arm it again, free what holds it, or arm and stop others. */
    void (*fire)(struct timer *timer);
};

struct timer_wheel {
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
    struct list moving; /* of the ticks that have begun: to be fired, or placed in a finer level */
    uint64_t tick;      /* everything due before it has fired or is moving */
    uint64_t taken;     /* a bit for each slot of the finest level in which a timer has been since its tick */
    uint64_t count;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

void timer_init(struct timer *timer, void (*fire)(struct timer *timer));

/* Arms for `at_ms`, moving the timer if it is armed already. Beyond the wheel's span (some 50 days) it fires
 * at the span's end. */
void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t at_ms);

/* Stops it; nothing happens when it is not armed. */
void timer_stop(struct timer_wheel *wheel, struct timer *timer);

bool timer_is_armed(const struct timer *timer);

/* Fires or moves one timer, whatever their number. Returns false when nothing is due at `now_ms` any more. */
bool timer_wheel_step(struct timer_wheel *wheel, uint64_t now_ms);

/* Fires everything due at `now_ms`. */
void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ms);

/* Milliseconds until the wheel wants to run again, at most `most_ms`; may be early, never late. */
uint64_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms, uint64_t most_ms);
