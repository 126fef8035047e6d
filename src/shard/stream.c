/* SPDX-License-Identifier: MIT */
#include "shard/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/number.h"
#include "shard/shard.h"
#include "shard/socket.h"

#define STREAM_READ_BYTES 65536u
#define STREAM_TICK_SLICES 16u
/* A peer that is silent for a minute is asked whether it is still there, and given up a minute later. */
#define STREAM_KEEPALIVE_IDLE_S 60
#define STREAM_KEEPALIVE_INTERVAL_S 10
#define STREAM_KEEPALIVE_PROBES 6
/* The kernel gives up on bytes that are not acknowledged a little after slow-client-timeout: so whoever is
 * owed something still is cut by us. */
#define STREAM_UNACKNOWLEDGED_MORE_MS 10000u

static struct stream_socket *stream_of_outlet(struct outlet *outlet)
{
    return container_of(outlet, struct stream_socket, outlet);
}

/* What the kernel is asked to tell: hang-ups always, so a peer that has gone is noticed whatever is waited
 * for. */
static void stream_update_events(struct stream_socket *socket)
{
    uint32_t events = 0;
    bool is_blocked = socket->outlet.state == OUTLET_BLOCKED;
    bool wants_bytes = socket->state == STREAM_OPEN && !socket->is_paused && !is_blocked;
    if (wants_bytes && !socket->has_ended)
        events |= EPOLLIN;
    if (is_blocked)
        events |= EPOLLOUT;
    if (events == socket->events || socket->state == STREAM_CLOSED)
        return;
    socket->events = events;
    if (watch_change(&socket->watch, socket->outlet.shard->epoll_fd, events, socket->watch.on_event))
        stream_socket_close(socket);
}

static void stream_leave(struct stream_socket *socket)
{
    struct shard *shard = socket->outlet.shard;
    int fd = socket->watch.fd;
    outlet_close(&socket->outlet);
    watch_remove(&socket->watch, shard->epoll_fd);
    if (!socket->is_told)
        socket_close(fd);
    else if ((socket->has_ended || socket->is_drained) && !socket_is_owing(fd))
        farewell_close(fd);
    else
        farewell_begin(&shard->farewells, fd);
    list_remove(&socket->link);
    shard->streams.count--;
    connection_limits_remove(shard->group->limits, &socket->key);
    socket->ops->gone(socket);
}

static void stream_move(struct stream_socket *socket, enum stream_state to)
{
    static const unsigned legal[] = {
        [STREAM_OPEN] = 1u << STREAM_ENDING | 1u << STREAM_CLOSED,
        [STREAM_ENDING] = 1u << STREAM_CLOSED,
        [STREAM_CLOSED] = 0,
    };
    assert(legal[socket->state] & 1u << to);
    socket->state = (uint8_t)to;
    switch (to) {
    case STREAM_OPEN:
        break;
    case STREAM_ENDING:
        outlet_call(&socket->outlet);
        stream_update_events(socket);
        break;
    case STREAM_CLOSED:
        stream_leave(socket);
        break;
    }
}

void stream_socket_close(struct stream_socket *socket)
{
    if (socket->state != STREAM_CLOSED)
        stream_move(socket, STREAM_CLOSED);
}

static void stream_forget_kept(struct stream_socket *socket)
{
    buf_deinit(&socket->in);
    (void)memory_share_set(&socket->share, socket->outlet.shard, 0); /* less always fits */
}

void stream_socket_deinit(struct stream_socket *socket)
{
    outlet_deinit(&socket->outlet);
    stream_forget_kept(socket);
}

/* Everything is written. */
static void stream_say_all(struct stream_socket *socket)
{
    farewell_tell(socket->watch.fd, "", 0);
    socket->is_told = true;
    stream_socket_close(socket);
}

void stream_socket_finish(struct stream_socket *socket)
{
    if (socket->state == STREAM_OPEN)
        stream_move(socket, STREAM_ENDING);
}

/* Reading. */

static void stream_keep(struct stream_socket *socket, const char *bytes, size_t len)
{
    if (len == 0 || socket->state != STREAM_OPEN)
        return;
    buf_append(&socket->in, bytes, len);
    if (socket->in.has_failed) {
        stream_socket_close(socket);
    } else if (!memory_share_set(&socket->share, socket->outlet.shard, socket->in.capacity)) {
        stream_forget_kept(socket);
        socket->ops->ended(socket, ERROR_CONNECTION_MEMORY);
    }
}

static size_t stream_give(struct stream_socket *socket, const char *bytes, size_t len)
{
    socket->is_reading = true;
    size_t done = socket->ops->read(socket, bytes, len);
    socket->is_reading = false;
    return done;
}

/* Gives what was left over, now with more behind it or to a holder that goes on. */
static void stream_give_kept(struct stream_socket *socket)
{
    size_t done = stream_give(socket, socket->in.bytes, socket->in.len);
    if (socket->state == STREAM_OPEN && done < socket->in.len) {
        memmove(socket->in.bytes, socket->in.bytes + done, socket->in.len - done);
        socket->in.len -= done;
    } else {
        stream_forget_kept(socket);
    }
}

static void stream_read(struct stream_socket *socket)
{
    char *bytes = socket->outlet.shard->streams.scratch;
    ssize_t got = socket_read_some(socket->watch.fd, bytes, STREAM_READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        stream_socket_close(socket);
    } else if (got == 0) {
        socket->has_ended = true;
        stream_update_events(socket);
        if (socket->state == STREAM_OPEN)
            socket->ops->ended(socket, ERROR_NONE);
    } else if (socket->in.len > 0) {
        stream_keep(socket, bytes, (size_t)got);
        if (socket->state == STREAM_OPEN)
            stream_give_kept(socket);
    } else {
        size_t done = stream_give(socket, bytes, (size_t)got);
        stream_keep(socket, bytes + done, (size_t)got - done);
    }
}

/* Gives what is left over to a holder that takes it again, but not to one whose peer does not take the
 * answers. */
static void stream_go_on(struct stream_socket *socket)
{
    bool is_blocked = socket->outlet.state == OUTLET_BLOCKED;
    if (socket->state == STREAM_OPEN && !socket->is_paused && !is_blocked && socket->in.len > 0)
        stream_give_kept(socket);
}

void stream_socket_pause(struct stream_socket *socket)
{
    socket->is_paused = true;
    stream_update_events(socket);
}

void stream_socket_resume(struct stream_socket *socket)
{
    if (!socket->is_paused)
        return;
    socket->is_paused = false;
    stream_update_events(socket);
    if (!socket->is_reading)
        stream_go_on(socket);
}

void stream_socket_push(struct stream_socket *socket, const char *bytes, size_t len)
{
    size_t done = 0;
    if (len > 0 && socket->state == STREAM_OPEN && !socket->is_paused)
        done = stream_give(socket, bytes, len);
    stream_keep(socket, bytes + done, len - done);
    if (socket->state == STREAM_OPEN && socket_is_holding(socket->watch.fd))
        stream_read(socket);
}

/* The outlet's side. */

static void stream_outlet_changed(struct outlet *outlet)
{
    stream_update_events(stream_of_outlet(outlet));
}

static void stream_outlet_relieved(struct outlet *outlet)
{
    struct stream_socket *socket = stream_of_outlet(outlet);
    if (socket->state == STREAM_ENDING)
        stream_say_all(socket);
    stream_go_on(socket);
    if (socket->state == STREAM_OPEN && socket->outlet.state == OUTLET_READY)
        socket->ops->writable(socket);
}

static void stream_outlet_broken(struct outlet *outlet)
{
    stream_socket_close(stream_of_outlet(outlet));
}

static const struct outlet_ops stream_outlet_ops = {
    .changed = stream_outlet_changed,
    .relieved = stream_outlet_relieved,
    .broken = stream_outlet_broken,
};

/* What a slow client was told may all be in the kernel's buffer: then it is the kernel that gives it up. */
static enum metric stream_end_metric(int fd)
{
    int err = 0;
    socklen_t size = sizeof(err);
    bool is_slow = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 && err == ETIMEDOUT;
    return is_slow ? METRIC_SLOW_CUT : METRIC_HANGUPS;
}

static void stream_event(struct watch *watch, uint32_t events)
{
    struct stream_socket *socket = container_of(watch, struct stream_socket, watch);
    if (events & EPOLLERR || (events & EPOLLHUP && socket->has_ended)) {
        shard_count(socket->outlet.shard, stream_end_metric(watch->fd), 1);
        stream_socket_close(socket);
        return;
    }
    if (events & EPOLLOUT)
        outlet_flush(&socket->outlet);
    bool may_read = socket->state == STREAM_OPEN && socket->events & EPOLLIN;
    if (may_read && events & (EPOLLIN | EPOLLHUP))
        stream_read(socket);
    else if (events & EPOLLHUP && socket->state != STREAM_CLOSED)
        stream_socket_close(socket);
}

/* The table. */

bool stream_socket_is_held(const struct stream_socket *socket)
{
    return socket->state == STREAM_OPEN && !socket->is_drained;
}

void stream_socket_drain(struct stream_socket *socket)
{
    socket->is_drained = true;
    socket->ops->drain(socket);
}

void stream_socket_cut(struct stream_socket *socket)
{
    if (!socket->is_drained)
        stream_socket_drain(socket);
    if (outlet_flush(&socket->outlet))
        stream_say_all(socket);
    else
        stream_socket_close(socket);
}

void stream_table_visit(struct stream_table *table, void (*visit)(struct stream_socket *socket))
{
    list_for_each_safe (link, &table->sockets)
        visit(container_of(link, struct stream_socket, link));
}

/* On a Unix socket these fail, and mean nothing. */
static void stream_set_options(const struct shard *shard, int fd)
{
    const unsigned user_timeout_ms =
        (unsigned)(shard->options->slow_client_timeout_ms + STREAM_UNACKNOWLEDGED_MORE_MS);
    const struct {
        int level;
        int name;
        int value;
    } settings[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, STREAM_KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, STREAM_KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, STREAM_KEEPALIVE_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++)
        (void)setsockopt(fd, settings[i].level, settings[i].name, &settings[i].value, sizeof(int));
}

/* The next slice; there is none while there is nobody to tick. */
static void stream_table_arm_tick(struct stream_table *table)
{
    uint64_t slice_ms = number_greater(table->tick_ms / STREAM_TICK_SLICES, 1);
    if (table->tick_ms > 0 && table->count > 0)
        timer_arm(&table->shard->wheel, &table->tick, table->shard->now_ms + slice_ms);
}

int stream_socket_open(struct stream_socket *socket, struct shard *shard, const struct arrival *arrival)
{
    struct stream_table *table = &shard->streams;
    int err = watch_add(&socket->watch, shard->epoll_fd, arrival->fd, EPOLLIN, stream_event);
    if (err)
        return err;
    outlet_init(&socket->outlet, &stream_outlet_ops, shard, arrival->fd);
    socket->state = STREAM_OPEN;
    socket->events = EPOLLIN;
    socket->key = arrival->key;
    socket->entrance = arrival->entrance;
    list_append(&table->sockets, &socket->link);
    table->count++;
    if (!timer_is_armed(&table->tick))
        stream_table_arm_tick(table);
    stream_set_options(shard, arrival->fd);
    if (socket_is_owing(arrival->fd))
        (void)outlet_flush(&socket->outlet); /* it is blocked now, or owes nothing any more */
    return 0;
}

/* In slices, so that many who get a ping do not keep the others waiting. Who has been ticked goes to the end
 * of the list. */
static void stream_table_ticked(struct timer *timer)
{
    struct stream_table *table = container_of(timer, struct stream_table, tick);
    uint64_t slice = (table->count + STREAM_TICK_SLICES - 1) / STREAM_TICK_SLICES;
    for (uint64_t i = 0; i < slice && !list_is_empty(&table->sockets); i++) {
        struct stream_socket *socket = container_of(list_first(&table->sockets), struct stream_socket, link);
        list_remove(&socket->link);
        list_append(&table->sockets, &socket->link);
        if (socket->state == STREAM_OPEN)
            socket->ops->tick(socket);
    }
    stream_table_arm_tick(table);
}

void stream_table_tick(struct stream_table *table, uint64_t every_ms)
{
    if (every_ms == 0 || (table->tick_ms > 0 && table->tick_ms <= every_ms))
        return;
    table->tick_ms = every_ms;
    stream_table_arm_tick(table);
}

int stream_table_init(struct stream_table *table, struct shard *shard)
{
    *table = (struct stream_table){.shard = shard, .scratch = malloc(STREAM_READ_BYTES)};
    list_init(&table->sockets);
    timer_init(&table->tick, stream_table_ticked);
    return table->scratch ? 0 : -ENOMEM;
}

void stream_table_deinit(struct stream_table *table)
{
    free(table->scratch);
}
