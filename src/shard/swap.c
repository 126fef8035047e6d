/* SPDX-License-Identifier: MIT */
#include "shard/swap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int swap_init(struct swap *swap)
{
    int pair[2];
    *swap = (struct swap){.feed = {-1, -1}, .dead = -1, .saved = -1, .fed_fd = -1};
    /* With packets, a head that was not read whole can never run into the next one. */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, swap->feed) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        return -errno;
    close(pair[1]);
    swap->dead = pair[0];
    swap->saved = fcntl(swap->feed[1], F_DUPFD_CLOEXEC, 0);
    return swap->saved >= 0 ? 0 : -errno;
}

void swap_deinit(struct swap *swap)
{
    const int fds[] = {swap->feed[0], swap->feed[1], swap->dead, swap->saved};
    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* `fd` leads to what `other` leads to. Between descriptors that are open it does not fail but for a signal,
 * or when the limit of open files has been lowered below `fd`. */
static int swap_lead(int fd, int other)
{
    int result;
    do
        result = dup3(other, fd, O_CLOEXEC);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

int swap_feed(struct swap *swap, int fd, const char *bytes, size_t len)
{
    if (send(swap->feed[0], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        return -errno;
    swap_lead(swap->saved, fd);
    int err = swap_lead(fd, swap->feed[1]);
    if (!err)
        swap->fed_fd = fd;
    else
        swap_lead(swap->saved, swap->feed[1]);
    return err;
}

void swap_end_feed(struct swap *swap)
{
    if (swap->fed_fd < 0)
        return;
    swap_lead(swap->fed_fd, swap->saved);
    swap->fed_fd = -1;
    swap->has_saved = true;
}

void swap_rest(struct swap *swap)
{
    if (swap->has_saved)
        swap_lead(swap->saved, swap->feed[1]);
    swap->has_saved = false;
}

void swap_cancel_feed(struct swap *swap)
{
    char ignored;
    swap_end_feed(swap);
    while (recv(swap->feed[1], &ignored, sizeof(ignored), MSG_DONTWAIT) > 0)
        ;
}

void swap_part(struct swap *swap, int fd, bool is_saved)
{
    if (is_saved)
        swap_lead(swap->saved, fd);
    if (swap_lead(fd, swap->dead))
        shutdown(fd, SHUT_RDWR);
}

int swap_take(struct swap *swap)
{
    int fd = fcntl(swap->saved, F_DUPFD_CLOEXEC, 0);
    int err = errno;
    swap->has_saved = true;
    swap_rest(swap);
    return fd >= 0 ? fd : -err;
}
