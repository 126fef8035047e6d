/* SPDX-License-Identifier: MIT */
#include "base/timer.h"

#define TIMER_SLOT_BITS 6u
#define TIMER_SLOT_MASK (TIMER_SLOTS - 1u)

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    list_init(&wheel->moving);
    wheel->tick = now_ms / TIMER_TICK_MS;
    wheel->taken = 0;
    wheel->count = 0;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    list_init(&timer->link);
    timer->due_tick = 0;
    timer->fire = fire;
}

bool timer_is_armed(const struct timer *timer)
{
    return !list_is_empty(&timer->link);
}

/* A timer goes to the finest level whose span still covers it, and moves down as its time comes nearer. */
static void timer_place(struct timer_wheel *wheel, struct timer *timer)
{
    uint64_t ahead = timer->due_tick - wheel->tick;
    unsigned level = 0;
    while (level < TIMER_LEVELS - 1 && ahead >= (1ull << (TIMER_SLOT_BITS * (level + 1))))
        level++;
    uint64_t slot = (timer->due_tick >> (TIMER_SLOT_BITS * level)) & TIMER_SLOT_MASK;
    list_append(&wheel->slots[level][slot], &timer->link);
    if (level == 0)
        wheel->taken |= 1ull << slot;
}

void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t at_ms)
{
    const uint64_t span = (1ull << (TIMER_SLOT_BITS * TIMER_LEVELS)) - 1;
    timer_stop(wheel, timer);
    uint64_t due = at_ms / TIMER_TICK_MS + (at_ms % TIMER_TICK_MS != 0);
    if (due < wheel->tick)
        due = wheel->tick;
    if (due - wheel->tick > span)
        due = wheel->tick + span;
    timer->due_tick = due;
    timer_place(wheel, timer);
    wheel->count++;
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer_is_armed(timer))
        return;
    list_remove(&timer->link);
    wheel->count--;
}

/* What is due in this tick goes to be fired, and what coarser levels have for it to be placed anew. The tick
 * is over then, so that a timer armed for now goes to the next one and cannot keep us here. */
static void timer_begin_tick(struct timer_wheel *wheel)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        if (wheel->tick & ((1ull << (TIMER_SLOT_BITS * level)) - 1))
            break;
        uint64_t slot = (wheel->tick >> (TIMER_SLOT_BITS * level)) & TIMER_SLOT_MASK;
        list_splice(&wheel->moving, &wheel->slots[level][slot]);
    }
    wheel->taken &= ~(1ull << (wheel->tick & TIMER_SLOT_MASK));
    wheel->tick++;
}

bool timer_wheel_step(struct timer_wheel *wheel, uint64_t now_ms)
{
    uint64_t now_tick = now_ms / TIMER_TICK_MS;
    struct list *link;
    while (!(link = list_first(&wheel->moving))) {
        if (wheel->tick > now_tick)
            return false;
        if (wheel->count == 0)
            wheel->tick = now_tick;
        timer_begin_tick(wheel);
    }
    struct timer *timer = container_of(link, struct timer, link);
    list_remove(link);
    if (timer->due_tick >= wheel->tick) {
        timer_place(wheel, timer);
    } else {
        wheel->count--;
        timer->fire(timer);
    }
    return true;
}

void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ms)
{
    while (timer_wheel_step(wheel, now_ms))
        ;
}

/* The next tick that has something to do: a timer is due, or coarser levels move down. */
static uint64_t timer_next_tick(const struct timer_wheel *wheel)
{
    uint64_t slot = wheel->tick & TIMER_SLOT_MASK;
    if (slot == 0)
        return wheel->tick;
    for (uint64_t left = wheel->taken >> slot; left; left &= left - 1) {
        unsigned ahead = (unsigned)__builtin_ctzll(left);
        if (!list_is_empty(&wheel->slots[0][slot + ahead]))
            return wheel->tick + ahead;
    }
    return wheel->tick + TIMER_SLOTS - slot;
}

uint64_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms, uint64_t most_ms)
{
    if (!list_is_empty(&wheel->moving))
        return 0;
    if (wheel->count == 0)
        return most_ms;
    uint64_t at_ms = timer_next_tick(wheel) * TIMER_TICK_MS;
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    return wait_ms < most_ms ? wait_ms : most_ms;
}
