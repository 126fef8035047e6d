/* SPDX-License-Identifier: MIT */
#include "shard/farewell.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "shard/shard.h"
#include "shard/socket.h"

/* How long a peer may take that is owed nothing, how much it may send meanwhile, and how many there may be at
 * a time. */
#define FAREWELL_MS 2000u
#define FAREWELL_BYTES (4u << 20)
#define FAREWELLS_MOST 256u
/* Reads of bytes that nobody wants any more, before the loop looks at everything else again. */
#define FAREWELL_READS 4u
#define FAREWELL_READ_BYTES 65536u

struct farewell {
    struct watch watch;
    struct list link;
    struct garbage garbage;
    struct shard *shard;
    uint64_t until_ms;
    uint32_t dropped; /* bytes */
    uint32_t events;  /* waited for */
    bool has_ended;   /* the peer sends nothing more, or nothing that it may */
};

/* Returns whether the peer is to be spared any longer: it has not ended, nor sent too much. */
static bool farewell_drop(int fd, uint32_t *dropped)
{
    char nowhere[FAREWELL_READ_BYTES];
    for (unsigned i = 0; i < FAREWELL_READS; i++) {
        ssize_t got = socket_read(fd, nowhere, sizeof(nowhere));
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        *dropped += (uint32_t)got;
        if (*dropped > FAREWELL_BYTES)
            return false;
    }
    return true;
}

void farewell_tell(int fd, const char *text, size_t len)
{
    ssize_t sent = socket_write(fd, text, len);
    (void)sent; /* a peer that does not take it sees the close */
    socket_end(fd);
}

void farewell_close(int fd)
{
    uint32_t dropped = 0;
    (void)farewell_drop(fd, &dropped); /* it is closed in any case */
    socket_close(fd);
}

static void farewell_free(struct garbage *garbage)
{
    free(container_of(garbage, struct farewell, garbage));
}

static void farewell_end(struct farewell *farewell)
{
    int fd = farewell->watch.fd;
    watch_remove(&farewell->watch, farewell->shard->epoll_fd);
    socket_close(fd);
    list_remove(&farewell->link);
    farewell->shard->farewells.count--;
    shard_reap(farewell->shard, &farewell->garbage, farewell_free);
}

/* What the kernel is asked to tell; nothing when nothing is waited for. */
static uint32_t farewell_events(const struct farewell *farewell, int fd)
{
    return (farewell->has_ended ? 0 : (uint32_t)EPOLLIN | EPOLLRDHUP) |
           (socket_flush(fd) ? 0 : (uint32_t)EPOLLOUT);
}

static void farewell_event(struct watch *watch, uint32_t events)
{
    struct farewell *farewell = container_of(watch, struct farewell, watch);
    bool is_broken = events & (EPOLLHUP | EPOLLERR);
    farewell->has_ended = farewell->has_ended || is_broken || !farewell_drop(watch->fd, &farewell->dropped);
    uint32_t wanted = is_broken ? 0 : farewell_events(farewell, watch->fd);
    bool is_over = wanted == 0;
    if (!is_over && wanted != farewell->events)
        is_over = watch_change(watch, farewell->shard->epoll_fd, wanted, farewell_event) != 0;
    farewell->events = wanted;
    if (is_over)
        farewell_end(farewell);
}

void farewell_begin(struct farewell_table *table, int fd)
{
    struct shard *shard = table->shard;
    struct farewell *farewell = calloc(1, sizeof(*farewell));
    if (farewell) {
        farewell->has_ended = !farewell_drop(fd, &farewell->dropped);
        farewell->events = farewell_events(farewell, fd);
    }
    if (!farewell || farewell->events == 0 ||
        watch_add(&farewell->watch, shard->epoll_fd, fd, farewell->events, farewell_event)) {
        free(farewell);
        socket_close(fd);
        return;
    }
    if (table->count >= FAREWELLS_MOST)
        farewell_end(container_of(list_first(&table->sockets), struct farewell, link));
    farewell->shard = shard;
    farewell->until_ms = shard->now_ms + FAREWELL_MS;
    list_append(&table->sockets, &farewell->link);
    table->count++;
    if (!timer_is_armed(&table->timer))
        timer_arm(&shard->wheel, &table->timer, farewell->until_ms);
}

/* For one that reads slowly. One that does not read at all is cut by the kernel (TCP_USER_TIMEOUT). */
static void farewell_prolong(struct farewell *farewell)
{
    struct shard *shard = farewell->shard;
    farewell->until_ms = shard->now_ms + FAREWELL_MS;
    list_remove(&farewell->link);
    list_append(&shard->farewells.sockets, &farewell->link);
}

static void farewell_table_look(struct timer *timer)
{
    struct farewell_table *table = container_of(timer, struct farewell_table, timer);
    list_for_each_safe (link, &table->sockets) {
        struct farewell *farewell = container_of(link, struct farewell, link);
        if (farewell->until_ms > table->shard->now_ms) {
            timer_arm(&table->shard->wheel, timer, farewell->until_ms);
            return;
        }
        if (socket_is_owing(farewell->watch.fd))
            farewell_prolong(farewell);
        else
            farewell_end(farewell);
    }
}

void farewell_table_cut(struct farewell_table *table)
{
    list_for_each_safe (link, &table->sockets)
        farewell_end(container_of(link, struct farewell, link));
}

void farewell_table_init(struct farewell_table *table, struct shard *shard)
{
    *table = (struct farewell_table){.shard = shard};
    list_init(&table->sockets);
    timer_init(&table->timer, farewell_table_look);
}
