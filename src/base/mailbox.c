/* SPDX-License-Identifier: MIT */
#include "base/mailbox.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/container.h"

int mailbox_init(struct mailbox *mailbox)
{
    mpsc_init(&mailbox->queue);
    mailbox->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return mailbox->wake_fd < 0 ? -errno : 0;
}

void mailbox_deinit(struct mailbox *mailbox)
{
    while (mailbox_drain(mailbox))
        ;
    close(mailbox->wake_fd);
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
    /* Only the first letter in an empty box needs to ring: the reader takes all at once. */
    if (!mpsc_push(&mailbox->queue, &letter->node))
        return;
    const uint64_t one = 1;
    ssize_t written;
    do
        written = write(mailbox->wake_fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
}

bool mailbox_drain(struct mailbox *mailbox)
{
    struct mpsc_node *node = mpsc_take_all(&mailbox->queue);
    if (!node)
        return false;
    while (node) {
        struct letter *letter = container_of(node, struct letter, node);
        node = node->next;
        letter->deliver(letter);
    }
    return true;
}

void mailbox_acknowledge(struct mailbox *mailbox)
{
    uint64_t count;
    ssize_t got = read(mailbox->wake_fd, &count, sizeof(count));
    (void)got; /* EAGAIN only says that somebody has read it before */
}
