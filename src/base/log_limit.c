/* SPDX-License-Identifier: MIT */
#include "base/log_limit.h"

#include <stdatomic.h>
#include <string.h>

/* Window and count share one word, so that one compare-and-swap decides who begins a window and nobody's
 * count is lost: 40 bits of milliseconds are 34 years since boot. */
#define LOG_SEEN_BITS 24
#define LOG_SEEN_MAX ((UINT64_C(1) << LOG_SEEN_BITS) - 1)

static uint64_t log_seen(uint64_t state)
{
    return state & LOG_SEEN_MAX;
}

/* Another thread may have read a later clock and begun a window that lies ahead of `now_ms`. */
static bool log_is_over(uint64_t state, uint64_t now_ms)
{
    return (int64_t)(now_ms - (state >> LOG_SEEN_BITS)) >= (int64_t)LOG_WINDOW_MS;
}

static struct log_limit_slot *log_limit_find(struct log_limit *limit, const char *event)
{
    uint32_t hash = 2166136261u;
    for (const char *at = event; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    for (uint32_t i = 0; i < LOG_LIMIT_SLOTS; i++) {
        struct log_limit_slot *slot = &limit->slots[(hash + i) % LOG_LIMIT_SLOTS];
        const char *owner = atomic_load_explicit(&slot->event, memory_order_acquire);
        if (!owner && atomic_compare_exchange_strong(&slot->event, &owner, event))
            return slot;
        if (strcmp(owner, event) == 0)
            return slot;
    }
    return &limit->slots[hash % LOG_LIMIT_SLOTS];
}

bool log_limit_admit(struct log_limit *limit, const char *event, int level, uint64_t now_ms)
{
    struct log_limit_slot *slot = log_limit_find(limit, event);
    uint64_t state = atomic_load(&slot->state);
    uint64_t next;
    atomic_store_explicit(&slot->level, level, memory_order_relaxed);
    do {
        /* A window with lines left out is closed by log_limit_collect alone, which tells of them. */
        if (log_seen(state) == 0 || (log_is_over(state, now_ms) && log_seen(state) <= LOG_BURST))
            next = now_ms << LOG_SEEN_BITS | 1;
        else
            next = log_seen(state) < LOG_SEEN_MAX ? state + 1 : state;
    } while (!atomic_compare_exchange_weak(&slot->state, &state, next));
    return log_seen(next) <= LOG_BURST;
}

bool log_limit_collect(struct log_limit *limit, uint64_t now_ms, bool is_last, unsigned *at,
                       struct log_left_out *left_out)
{
    for (; *at < LOG_LIMIT_SLOTS; ++*at) {
        struct log_limit_slot *slot = &limit->slots[*at];
        uint64_t state = atomic_load(&slot->state);
        while (log_seen(state) > LOG_BURST && (is_last || log_is_over(state, now_ms))) {
            if (!atomic_compare_exchange_weak(&slot->state, &state, 0))
                continue;
            *left_out = (struct log_left_out){
                .event = atomic_load_explicit(&slot->event, memory_order_acquire),
                .level = atomic_load_explicit(&slot->level, memory_order_relaxed),
                .count = (uint32_t)(log_seen(state) - LOG_BURST),
            };
            ++*at;
            return true;
        }
    }
    return false;
}
