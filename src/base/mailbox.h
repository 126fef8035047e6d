/* SPDX-License-Identifier: MIT */
#pragma once

/* The one way by which threads reach each other: a queue of letters and an eventfd that wakes the reader once
 * for all that has come since it last looked. There is no lock: who posts pushes onto a stack with one
 * compare-and-swap, and the reader takes all at once and turns it round. A thread does not ring for its own
 * mailbox.
 *
 * Letters of one sender arrive in order. Everything a thread posts before another thread learns of it by
 * other means (an HTTP answer, say) is seen by a reader that drains after it has learned.
 */

#include <stdatomic.h>
#include <stdbool.h>

struct letter {
    struct letter *next; /* the mailbox's, from the post to the delivery */
    /* Called once on the reader's thread; the letter is then its receiver's. */
    void (*deliver)(struct letter *letter);
};

struct mailbox {
    _Atomic(struct letter *) newest;
    int wake_fd; /* an eventfd; readable when there may be letters */
};

/* Returns 0 or -errno of eventfd. */
int mailbox_init(struct mailbox *mailbox);

/* Delivers what is left, then closes. No thread posts any more. */
void mailbox_deinit(struct mailbox *mailbox);

/* From now on this thread looks whether the mailbox is empty before it waits: what it posts there itself
 * needs no system call. */
void mailbox_own(struct mailbox *mailbox);

/* Any thread. The letter stays alive until it is delivered. */
void mailbox_post(struct mailbox *mailbox, struct letter *letter);

/* While a thread holds a lock it rings nobody: whoever wants ringing is remembered, and rung once the lock is
 * released. */
void mailbox_hold_rings(void);
void mailbox_ring_held(void);

/* Whether everything that was posted has been delivered, or is being. Reader only. */
bool mailbox_is_empty(const struct mailbox *mailbox);

/* Reader only. Delivers all that has been posted; what the deliveries post waits for the next call. Returns
 * whether there was any. */
bool mailbox_drain(struct mailbox *mailbox);

/* Reader only; when the wake_fd was readable, before mailbox_drain. */
void mailbox_acknowledge(struct mailbox *mailbox);
