/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BASE_MPSC_H
#define SLUICE_BASE_MPSC_H

/* An intrusive queue of many producers and one consumer, without locks: producers push onto a stack with one
 * compare-and-swap, the consumer takes everything at once and turns it round.
 *
 * Order is kept for each producer. A node belongs to the queue from push until the consumer has got it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mpsc_node {
    struct mpsc_node *next;
};

struct mpsc {
    _Atomic(struct mpsc_node *) newest;
};

/* Before any thread uses it. */
void mpsc_init(struct mpsc *queue);

/* Any thread. Returns whether the queue was empty, so that the caller knows that the consumer may need a
 * wake-up. */
bool mpsc_push(struct mpsc *queue, struct mpsc_node *node);

/* Consumer only. */
bool mpsc_is_empty(const struct mpsc *queue);

/* Consumer only. Takes all that was pushed, as a chain from the oldest to the newest; NULL when there is
 * nothing. */
struct mpsc_node *mpsc_take_all(struct mpsc *queue);

#endif
