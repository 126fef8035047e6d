/* SPDX-License-Identifier: MIT */
#include "base/mpsc.h"

void mpsc_init(struct mpsc *queue)
{
    atomic_init(&queue->newest, NULL);
}

bool mpsc_push(struct mpsc *queue, struct mpsc_node *node)
{
    struct mpsc_node *newest = atomic_load_explicit(&queue->newest, memory_order_relaxed);
    do {
        node->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&queue->newest, &newest, node, memory_order_release,
                                                    memory_order_relaxed));
    return newest == NULL;
}

bool mpsc_is_empty(const struct mpsc *queue)
{
    return !atomic_load_explicit(&queue->newest, memory_order_relaxed);
}

struct mpsc_node *mpsc_take_all(struct mpsc *queue)
{
    struct mpsc_node *node = atomic_exchange_explicit(&queue->newest, NULL, memory_order_acquire);
    struct mpsc_node *oldest = NULL;
    while (node) {
        struct mpsc_node *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}
