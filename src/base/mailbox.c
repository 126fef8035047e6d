/* SPDX-License-Identifier: MIT */
#include "base/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Beyond this they are rung while the lock is held. */
#define MAILBOX_HELD_MAX 256u

static _Thread_local const struct mailbox *mailbox_of_thread;

static _Thread_local struct {
    bool is_holding;
    unsigned count;
    const struct mailbox *mailboxes[MAILBOX_HELD_MAX];
} mailbox_held;

int mailbox_init(struct mailbox *mailbox)
{
    atomic_init(&mailbox->newest, NULL);
    mailbox->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return mailbox->wake_fd < 0 ? -errno : 0;
}

void mailbox_deinit(struct mailbox *mailbox)
{
    while (mailbox_drain(mailbox))
        ;
    close(mailbox->wake_fd);
}

void mailbox_own(struct mailbox *mailbox)
{
    mailbox_of_thread = mailbox;
}

static void mailbox_ring(const struct mailbox *mailbox)
{
    (void)eventfd_write(mailbox->wake_fd, 1); /* when it is full the reader is woken as well */
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
    struct letter *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        letter->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, letter, memory_order_release,
                                                    memory_order_relaxed));
    /* Only the first letter in an empty box needs to ring: the reader takes all at once. */
    if (newest || mailbox == mailbox_of_thread)
        return;
    if (mailbox_held.is_holding && mailbox_held.count < MAILBOX_HELD_MAX)
        mailbox_held.mailboxes[mailbox_held.count++] = mailbox;
    else
        mailbox_ring(mailbox);
}

void mailbox_hold_rings(void)
{
    mailbox_held.is_holding = true;
}

void mailbox_ring_held(void)
{
    mailbox_held.is_holding = false;
    while (mailbox_held.count > 0)
        mailbox_ring(mailbox_held.mailboxes[--mailbox_held.count]);
}

bool mailbox_is_empty(const struct mailbox *mailbox)
{
    return !atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
}

bool mailbox_drain(struct mailbox *mailbox)
{
    struct letter *newest = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    struct letter *oldest = NULL;
    bool has_any = newest != NULL;
    while (newest) {
        struct letter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct letter *letter = oldest;
        oldest = letter->next;
        letter->deliver(letter);
    }
    return has_any;
}

void mailbox_acknowledge(struct mailbox *mailbox)
{
    eventfd_t count;
    (void)eventfd_read(mailbox->wake_fd, &count); /* EAGAIN only says that somebody has read it before */
}
