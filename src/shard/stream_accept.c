/* SPDX-License-Identifier: MIT */
/* Accepting stream sockets: as the door does for HTTP, each shard on its own listening socket. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "shard/shard.h"
#include "shard/stream.h"

#define STREAM_BACKLOG 4096
/* Connections accepted before the loop looks at everything else again. */
#define STREAM_ACCEPTS 64u
#define STREAM_PAUSE_MS 100u
#define STREAM_ERROR_BYTES 512u
/* A peer that is silent for a minute is asked whether it is still there, and given up a minute later. */
#define STREAM_KEEPALIVE_IDLE_S 60
#define STREAM_KEEPALIVE_INTERVAL_S 10
#define STREAM_KEEPALIVE_PROBES 6
/* The kernel gives up on bytes that are not acknowledged a little after slow-client-timeout, so that whoever
 * takes nothing is cut, and counted, by us. */
#define STREAM_UNACKNOWLEDGED_MORE_MS 10000u

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

static void stream_refuse(struct stream_listener *listener, int fd, enum error_code error)
{
    char text[STREAM_ERROR_BYTES];
    size_t len = listener->ops->render_error(listener, error, text, sizeof(text));
    ssize_t sent = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* a client that does not take it sees the close */
    shutdown(fd, SHUT_WR);
    (void)stream_discard(&listener->shard->streams, fd);
    close(fd);
    shard_count(listener->shard, METRIC_REFUSED, 1);
}

static void stream_adopt(struct stream_listener *listener, struct stream_socket *socket,
                         const struct address *address)
{
    struct shard *shard = listener->shard;
    struct stream_table *table = &shard->streams;
    socket->shard = shard;
    socket->listener = listener;
    socket->state = STREAM_OPEN;
    socket->progress_ms = shard->now_ms;
    list_init(&socket->link);
    list_init(&socket->flush_link);
    list_init(&socket->wait_link);
    if (address->storage.ss_family != AF_UNIX)
        socket->key_len = (uint8_t)address_client_key(address, socket->key);
    list_append(&table->sockets, &socket->link);
    table->count++;
    connection_limits_add(shard->group->limits, socket->key, socket->key_len);
}

static void stream_take(struct stream_listener *listener, int fd, const struct address *address)
{
    struct shard *shard = listener->shard;
    struct stream_socket *socket = listener->ops->make(listener);
    shard_count(shard, METRIC_ACCEPTED, 1);
    if (!socket) {
        stream_refuse(listener, fd, ERROR_OUT_OF_MEMORY);
        return;
    }
    stream_adopt(listener, socket, address);
    stream_set_options(shard, fd);
    enum error_code error =
        connection_limits_check(shard->group->limits, socket->key, socket->key_len, shard->options);
    socket->events = EPOLLIN;
    if (error == ERROR_NONE && watch_add(&socket->watch, shard->epoll_fd, fd, EPOLLIN, stream_event))
        error = ERROR_OUT_OF_MEMORY;
    if (error == ERROR_NONE) {
        listener->ops->opened(socket);
        return;
    }
    /* Refused with a copy of the descriptor, because closing the socket closes its own. */
    int copy = dup(fd);
    if (copy >= 0)
        stream_refuse(listener, copy, error);
    socket->watch.fd = fd;
    stream_socket_close(socket);
}

static void stream_accept(struct watch *watch, uint32_t events);

static void stream_set_accepting(struct stream_listener *listener, bool is_accepting)
{
    uint32_t events = is_accepting ? EPOLLIN : 0;
    if (watch_change(&listener->watch, listener->shard->epoll_fd, events, stream_accept))
        log_event(LOG_ERROR, "listener-lost", LOG_TEXT("reason", strerror(errno)));
}

static void stream_pause_over(struct timer *timer)
{
    stream_set_accepting(container_of(timer, struct stream_listener, pause), true);
}

/* Nothing to accept with: waiting a little is better than being told again at once. */
static void stream_pause_accepting(struct stream_listener *listener)
{
    log_event(
        LOG_WARN, "no-descriptors", LOG_TEXT("reason", strerror(errno)),
        LOG_TEXT("action", "raise the limit of open files (ulimit -n), or set max-connections below it"));
    stream_set_accepting(listener, false);
    timer_arm(&listener->shard->wheel, &listener->pause, listener->shard->now_ms + STREAM_PAUSE_MS);
}

static void stream_accept(struct watch *watch, uint32_t events)
{
    struct stream_listener *listener = container_of(watch, struct stream_listener, watch);
    (void)events;
    for (unsigned i = 0; i < STREAM_ACCEPTS; i++) {
        struct address address = {.len = sizeof(address.storage)};
        int fd = accept4(watch->fd, (struct sockaddr *)&address.storage, &address.len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            stream_take(listener, fd, &address);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            stream_pause_accepting(listener);
            return;
        }
    }
}

static void stream_tick(struct timer *timer)
{
    struct stream_listener *listener = container_of(timer, struct stream_listener, tick);
    struct shard *shard = listener->shard;
    list_for_each_safe (link, &shard->streams.sockets) {
        struct stream_socket *socket = container_of(link, struct stream_socket, link);
        if (socket->listener == listener && socket->state == STREAM_OPEN)
            listener->ops->tick(socket);
    }
    timer_arm(&shard->wheel, timer, shard->now_ms + listener->tick_ms);
}

int stream_table_listen(struct stream_table *table, int fd, const struct stream_listener_ops *ops,
                        void *context, uint64_t tick_ms)
{
    struct stream_listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    listener->shard = table->shard;
    listener->ops = ops;
    listener->context = context;
    listener->watch.fd = fd;
    listener->tick_ms = tick_ms;
    timer_init(&listener->tick, stream_tick);
    timer_init(&listener->pause, stream_pause_over);
    list_init(&listener->link);
    list_append(&table->listeners, &listener->link);
    return 0;
}

int stream_table_open(struct stream_table *table)
{
    list_for_each (link, &table->listeners) {
        struct stream_listener *listener = container_of(link, struct stream_listener, link);
        int fd = listener->watch.fd;
        int err = listen(fd, STREAM_BACKLOG) == 0 ? 0 : -errno;
        if (!err)
            err = watch_add(&listener->watch, table->shard->epoll_fd, fd, EPOLLIN, stream_accept);
        listener->watch.fd = fd;
        if (err)
            return err;
        if (listener->tick_ms > 0)
            timer_arm(&table->shard->wheel, &listener->tick, table->shard->now_ms + listener->tick_ms);
    }
    return 0;
}

void stream_table_shut(struct stream_table *table)
{
    list_for_each_safe (link, &table->listeners) {
        struct stream_listener *listener = container_of(link, struct stream_listener, link);
        int fd = listener->watch.fd;
        timer_stop(&table->shard->wheel, &listener->pause);
        timer_stop(&table->shard->wheel, &listener->tick);
        watch_remove(&listener->watch, table->shard->epoll_fd);
        if (fd >= 0)
            close(fd);
    }
}

void stream_table_deinit(struct stream_table *table)
{
    list_for_each_safe (link, &table->listeners) {
        struct stream_listener *listener = container_of(link, struct stream_listener, link);
        if (listener->watch.fd >= 0)
            close(listener->watch.fd);
        free(listener);
    }
    free(table->scratch);
}
