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
#include <sys/syscall.h>
#include <unistd.h>

#include "shard/shard.h"

#define STREAM_READ_BYTES 65536u
/* How long a peer may take to read the end of what it was sent. */
#define STREAM_LINGER_MS 2000u
#define STREAM_LOOK_LEAST_MS 20u
#define STREAM_LOOK_MOST_MS 1000u
/* A peer that is silent for a minute is asked whether it is still there, and given up a minute later. */
#define STREAM_KEEPALIVE_IDLE_S 60
#define STREAM_KEEPALIVE_INTERVAL_S 10
#define STREAM_KEEPALIVE_PROBES 6
/* The kernel gives up on bytes that are not acknowledged a little after slow-client-timeout, so that whoever
 * takes nothing is cut, and counted, by us. */
#define STREAM_UNACKNOWLEDGED_MORE_MS 10000u

/* What the kernel is asked to tell: hang-ups always, so a peer that has gone is noticed whatever is waited
 * for. */
static void stream_update_events(struct stream_socket *socket)
{
    uint32_t events = 0;
    bool wants_bytes = socket->state == STREAM_LINGERING ||
                       (socket->state == STREAM_OPEN && !socket->is_paused && !socket->is_blocked);
    if (wants_bytes && !socket->has_ended)
        events |= EPOLLIN;
    if (socket->is_blocked)
        events |= EPOLLOUT;
    if (events == socket->events || socket->state == STREAM_CLOSED)
        return;
    socket->events = events;
    if (watch_change(&socket->watch, socket->shard->epoll_fd, events, socket->watch.on_event))
        stream_socket_close(socket);
}

static void stream_wait_among(struct stream_socket *socket, struct list *list)
{
    struct shard *shard = socket->shard;
    list_remove(&socket->wait_link);
    list_append(list, &socket->wait_link);
    if (!timer_is_armed(&shard->streams.timer))
        timer_arm(&shard->wheel, &shard->streams.timer, shard->now_ms + STREAM_LOOK_LEAST_MS);
}

static void stream_set_blocked(struct stream_socket *socket, bool is_blocked)
{
    if (is_blocked && !socket->is_blocked) {
        socket->progress_ms = socket->shard->now_ms;
        stream_wait_among(socket, &socket->shard->streams.blocked);
    } else if (!is_blocked && socket->is_blocked) {
        list_remove(&socket->wait_link);
        list_append(&socket->shard->streams.relieved, &socket->wait_link);
    }
    socket->is_blocked = is_blocked;
    stream_update_events(socket);
}

static void stream_leave(struct stream_socket *socket)
{
    struct shard *shard = socket->shard;
    int fd = socket->watch.fd;
    watch_remove(&socket->watch, shard->epoll_fd);
    close(fd);
    list_remove(&socket->link);
    list_remove(&socket->flush_link);
    list_remove(&socket->wait_link);
    shard->streams.count--;
    connection_limits_remove(shard->group->limits, &socket->key);
    socket->ops->gone(socket);
}

static void stream_move(struct stream_socket *socket, enum stream_state to)
{
    static const unsigned legal[] = {
        [STREAM_OPEN] = 1u << STREAM_ENDING | 1u << STREAM_CLOSED,
        [STREAM_ENDING] = 1u << STREAM_LINGERING | 1u << STREAM_CLOSED,
        [STREAM_LINGERING] = 1u << STREAM_CLOSED,
        [STREAM_CLOSED] = 0,
    };
    assert(legal[socket->state] & 1u << to);
    socket->state = (uint8_t)to;
    switch (to) {
    case STREAM_OPEN:
        break;
    case STREAM_ENDING:
        if (!socket->is_blocked && list_is_empty(&socket->flush_link))
            list_append(&socket->shard->streams.to_flush, &socket->flush_link);
        stream_update_events(socket);
        break;
    case STREAM_LINGERING:
        socket->progress_ms = socket->shard->now_ms;
        stream_wait_among(socket, &socket->shard->streams.lingering);
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

void stream_socket_deinit(struct stream_socket *socket)
{
    message_unref(socket->owed);
    buf_deinit(&socket->out);
    buf_deinit(&socket->in);
}

static void stream_linger(struct stream_socket *socket)
{
    shutdown(socket->watch.fd, SHUT_WR);
    if (!listener_spare(socket->watch.fd, &socket->discarded) || socket->has_ended || socket->is_drained)
        stream_socket_close(socket);
    else
        stream_move(socket, STREAM_LINGERING);
}

void stream_socket_finish(struct stream_socket *socket)
{
    if (socket->state == STREAM_OPEN)
        stream_move(socket, STREAM_ENDING);
}

/* Writing. */

static size_t stream_owed(const struct stream_socket *socket)
{
    return socket->tail_len + socket->out.len - socket->out_at;
}

struct buf *stream_socket_text(struct stream_socket *socket)
{
    if (!socket->is_blocked && socket->state != STREAM_CLOSED && list_is_empty(&socket->flush_link))
        list_append(&socket->shard->streams.to_flush, &socket->flush_link);
    return &socket->out;
}

static ssize_t stream_write(struct stream_socket *socket, const struct iovec *parts, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    /* One part is by far the most frequent, and sendto costs the kernel less than sendmsg. By its number,
     * because send() is a point of cancellation, which takes 2 % of a broadcast, and no shard is ever
     * cancelled. */
    ssize_t sent =
        count == 1 ? syscall(SYS_sendto, socket->watch.fd, parts->iov_base, parts->iov_len, flags, NULL, 0)
                   : sendmsg(socket->watch.fd, &message, flags);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
        stream_socket_close(socket);
        return -EPIPE;
    }
    if (sent > 0) {
        socket->progress_ms = socket->shard->now_ms;
        shard_count(socket->shard, METRIC_DELIVERED_BYTES, (uint64_t)sent);
    }
    return sent < 0 ? 0 : sent;
}

ssize_t stream_socket_send(struct stream_socket *socket, const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    ssize_t sent = stream_write(socket, parts, count);
    if (sent >= 0 && (size_t)sent < size)
        stream_set_blocked(socket, true);
    return socket->state == STREAM_CLOSED ? -EPIPE : sent;
}

void stream_socket_owe(struct stream_socket *socket, struct message *message, const char *tail, size_t len)
{
    socket->owed = message_ref(message);
    socket->tail = tail;
    socket->tail_len = len;
}

static void stream_pay(struct stream_socket *socket, size_t sent)
{
    size_t of_tail = sent < socket->tail_len ? sent : socket->tail_len;
    socket->tail_len -= of_tail;
    socket->tail = socket->tail_len > 0 ? socket->tail + of_tail : NULL;
    socket->out_at += sent - of_tail;
    if (socket->tail_len == 0 && socket->owed) {
        message_unref(socket->owed);
        socket->owed = NULL;
    }
    if (socket->out_at == socket->out.len) {
        buf_deinit(&socket->out);
        socket->out_at = 0;
    }
}

bool stream_socket_flush(struct stream_socket *socket)
{
    list_remove(&socket->flush_link);
    if (socket->state == STREAM_CLOSED || socket->state == STREAM_LINGERING)
        return false;
    if (socket->out.has_failed) {
        stream_socket_close(socket);
        return false;
    }
    if (stream_owed(socket) > 0) {
        struct iovec parts[2];
        int count = 0;
        if (socket->tail_len > 0)
            parts[count++] = (struct iovec){(void *)(uintptr_t)socket->tail, socket->tail_len};
        if (socket->out.len > socket->out_at)
            parts[count++] =
                (struct iovec){socket->out.bytes + socket->out_at, socket->out.len - socket->out_at};
        ssize_t sent = stream_write(socket, parts, count);
        if (sent < 0)
            return false;
        stream_pay(socket, (size_t)sent);
    }
    stream_set_blocked(socket, stream_owed(socket) > 0);
    if (socket->state == STREAM_ENDING && !socket->is_blocked)
        stream_linger(socket);
    return socket->state == STREAM_OPEN && !socket->is_blocked;
}

/* Reading. */

static void stream_keep(struct stream_socket *socket, const char *bytes, size_t len)
{
    if (len == 0 || socket->state != STREAM_OPEN)
        return;
    buf_append(&socket->in, bytes, len);
    if (socket->in.has_failed)
        stream_socket_close(socket);
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
        buf_deinit(&socket->in);
    }
}

static void stream_read(struct stream_socket *socket)
{
    char *bytes = socket->shard->streams.scratch;
    ssize_t got = recv(socket->watch.fd, bytes, STREAM_READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        stream_socket_close(socket);
    } else if (got == 0) {
        socket->has_ended = true;
        stream_update_events(socket);
        if (socket->state == STREAM_OPEN)
            socket->ops->ended(socket);
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
    if (socket->state == STREAM_OPEN && !socket->is_paused && !socket->is_blocked && socket->in.len > 0)
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

/* Whoever could take nothing has taken all that he was owed. The kernel takes bytes before it says that it
 * would, so this is found by any flush, and not only at EPOLLOUT. */
static void stream_relieve(struct stream_socket *socket)
{
    list_remove(&socket->wait_link);
    stream_go_on(socket);
    if (socket->state == STREAM_OPEN && !socket->is_blocked)
        socket->ops->writable(socket);
}

void stream_table_run(struct stream_table *table)
{
    struct list *link;
    do {
        while ((link = list_first(&table->to_flush)))
            stream_socket_flush(container_of(link, struct stream_socket, flush_link));
        if ((link = list_first(&table->relieved)))
            stream_relieve(container_of(link, struct stream_socket, wait_link));
    } while (link || !list_is_empty(&table->to_flush));
}

static void stream_event(struct watch *watch, uint32_t events)
{
    struct stream_socket *socket = container_of(watch, struct stream_socket, watch);
    if (events & EPOLLERR || (events & EPOLLHUP && socket->has_ended)) {
        shard_count(socket->shard, METRIC_HANGUPS, 1);
        stream_socket_close(socket);
        return;
    }
    if (socket->state == STREAM_LINGERING) {
        if (!listener_spare(socket->watch.fd, &socket->discarded))
            stream_socket_close(socket);
        return;
    }
    if (events & EPOLLOUT)
        stream_socket_flush(socket);
    bool may_read = socket->state == STREAM_OPEN && socket->events & EPOLLIN;
    if (may_read && events & (EPOLLIN | EPOLLHUP))
        stream_read(socket);
    else if (events & EPOLLHUP && socket->state != STREAM_CLOSED)
        stream_socket_close(socket);
}

/* The slow, and those who have been told everything. */

static void stream_table_look(struct timer *timer)
{
    struct stream_table *table = container_of(timer, struct stream_table, timer);
    struct shard *shard = table->shard;
    uint64_t slow_ms = shard->options->slow_client_timeout_ms;
    list_for_each_safe (link, &table->blocked) {
        struct stream_socket *socket = container_of(link, struct stream_socket, wait_link);
        if (shard->now_ms - socket->progress_ms < slow_ms)
            continue;
        shard_count(shard, METRIC_SLOW_CUT, 1);
        stream_socket_close(socket);
    }
    list_for_each_safe (link, &table->lingering) {
        struct stream_socket *socket = container_of(link, struct stream_socket, wait_link);
        if (shard->now_ms - socket->progress_ms >= STREAM_LINGER_MS)
            stream_socket_close(socket);
    }
    uint64_t again_ms = slow_ms / 8;
    again_ms = again_ms < STREAM_LOOK_LEAST_MS  ? STREAM_LOOK_LEAST_MS
               : again_ms > STREAM_LOOK_MOST_MS ? STREAM_LOOK_MOST_MS
                                                : again_ms;
    if (!list_is_empty(&table->blocked) || !list_is_empty(&table->lingering))
        timer_arm(&shard->wheel, timer, shard->now_ms + again_ms);
}

bool stream_socket_is_held(const struct stream_socket *socket)
{
    return socket->state == STREAM_OPEN && !socket->is_drained;
}

void stream_socket_drain(struct stream_socket *socket)
{
    socket->is_drained = true;
    socket->ops->drain(socket);
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

int stream_socket_open(struct stream_socket *socket, struct shard *shard, const struct arrival *arrival)
{
    struct stream_table *table = &shard->streams;
    int err = watch_add(&socket->watch, shard->epoll_fd, arrival->fd, EPOLLIN, stream_event);
    if (err)
        return err;
    socket->shard = shard;
    socket->state = STREAM_OPEN;
    socket->events = EPOLLIN;
    socket->progress_ms = shard->now_ms;
    socket->key = arrival->key;
    list_init(&socket->flush_link);
    list_init(&socket->wait_link);
    list_append(&table->sockets, &socket->link);
    table->count++;
    stream_set_options(shard, arrival->fd);
    return 0;
}

static void stream_table_ticked(struct timer *timer)
{
    struct stream_table *table = container_of(timer, struct stream_table, tick);
    list_for_each_safe (link, &table->sockets) {
        struct stream_socket *socket = container_of(link, struct stream_socket, link);
        if (socket->state == STREAM_OPEN)
            socket->ops->tick(socket);
    }
    timer_arm(&table->shard->wheel, timer, table->shard->now_ms + table->tick_ms);
}

void stream_table_tick(struct stream_table *table, uint64_t every_ms)
{
    if (every_ms == 0 || (table->tick_ms > 0 && table->tick_ms <= every_ms))
        return;
    table->tick_ms = every_ms;
    timer_arm(&table->shard->wheel, &table->tick, table->shard->now_ms + every_ms);
}

int stream_table_init(struct stream_table *table, struct shard *shard)
{
    *table = (struct stream_table){.shard = shard, .scratch = malloc(STREAM_READ_BYTES)};
    list_init(&table->sockets);
    list_init(&table->to_flush);
    list_init(&table->blocked);
    list_init(&table->relieved);
    list_init(&table->lingering);
    timer_init(&table->timer, stream_table_look);
    timer_init(&table->tick, stream_table_ticked);
    return table->scratch ? 0 : -ENOMEM;
}

void stream_table_deinit(struct stream_table *table)
{
    free(table->scratch);
}
