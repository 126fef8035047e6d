/* SPDX-License-Identifier: MIT */
#pragma once

/* A descriptor in a shard's epoll. One event is handled at a time; a watch may be removed in any handler, but
 * its memory has to stay until the turn is over (shard_reap).
 */

#include <stdint.h>

struct watch {
    int fd; /* -1 when not watched */
    void (*on_event)(struct watch *watch, uint32_t events);
};

/* Adds `fd` with epoll's `events`. Returns 0 or -errno. */
int watch_add(struct watch *watch, int epoll_fd, int fd, uint32_t events,
              void (*on_event)(struct watch *watch, uint32_t events));

/* Changes what is watched and who handles it. Returns 0 or -errno. */
int watch_change(struct watch *watch, int epoll_fd, uint32_t events,
                 void (*on_event)(struct watch *watch, uint32_t events));

/* Before the descriptor is closed. Later events of this turn are not handled. */
void watch_remove(struct watch *watch, int epoll_fd);
