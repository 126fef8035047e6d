/* SPDX-License-Identifier: MIT */
#include "shard/watch.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

int watch_add(struct watch *watch, int epoll_fd, int fd, uint32_t events,
              void (*on_event)(struct watch *watch, uint32_t events))
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    watch->fd = fd;
    watch->on_event = on_event;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    watch->fd = -1;
    return -errno;
}

int watch_change(struct watch *watch, int epoll_fd, uint32_t events,
                 void (*on_event)(struct watch *watch, uint32_t events))
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    watch->on_event = on_event;
    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0 ? 0 : -errno;
}

void watch_remove(struct watch *watch, int epoll_fd)
{
    if (watch->fd < 0)
        return;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->fd = -1;
}
