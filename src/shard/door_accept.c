/* SPDX-License-Identifier: MIT */
/* How connections come to the door. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "shard/shard.h"

#define DOOR_BACKLOG 4096
/* Connections accepted before the loop looks at everything else again. */
#define DOOR_ACCEPTS 64u
#define DOOR_PAUSE_MS 100u

static void client_take_address(struct client *client, const struct sockaddr_storage *storage, socklen_t len)
{
    struct address address = {.storage = *storage, .len = len};
    if (len > sizeof(client->address))
        len = sizeof(client->address);
    memcpy(client->address, storage, len);
    client->key_len = (uint8_t)address_client_key(&address, client->key);
}

/* `error` is ERROR_NONE, or why nobody more can be taken. */
static void door_take(struct door *door, int fd, const struct sockaddr_storage *storage, socklen_t len,
                      enum error_code error)
{
    struct shard *shard = door->shard;
    const int on = 1;
    const unsigned unread_ms = (unsigned)shard->options->slow_client_timeout_ms;
    struct client *client = calloc(1, sizeof(*client));
    if (!client) {
        door_write_error(shard, fd, ERROR_OUT_OF_MEMORY);
        close(fd);
        return;
    }
    client->shard = shard;
    client->deadline_ms = shard->now_ms + shard->options->head_timeout_ms;
    list_init(&client->link);
    client_take_address(client, storage, len);
    connection_limits_add(shard->group->limits, client->key, client->key_len);
    shard_count(shard, METRIC_ACCEPTED, 1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    /* Whether an answer still waits here or in the kernel, which takes megabytes: a client that takes none of
     * it is cut. */
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof(unread_ms));
    if (door_enter(client, fd)) {
        client_close(client);
        door_write_error(shard, fd, ERROR_OUT_OF_MEMORY);
        close(fd);
        return;
    }
    if (error == ERROR_NONE)
        error = connection_limits_check(shard->group->limits, client->key, client->key_len, shard->options);
    if (error != ERROR_NONE)
        door_turn_away(client, error);
}

static void door_refill(struct door *door)
{
    while (door->spare_count < DOOR_SPARES) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        door->spares[door->spare_count++] = fd;
    }
}

/* With no descriptor left, a spare one is given up for as long as it takes to say so to one more client.
 * Returns 0, or -errno: -EAGAIN when nobody is there, which the kernel says only to who has a descriptor. */
static int door_refuse_with_spare(struct door *door, int listen_fd)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    int err = 0;
    if (door->spare_count == 0 && door_refuse_longest_unwanted(door))
        door_refill(door);
    if (door->spare_count == 0)
        err = -EMFILE;
    else
        close(door->spares[--door->spare_count]);
    int fd = err ? -1 : accept4(listen_fd, (struct sockaddr *)&storage, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (!err && fd < 0)
        err = -errno;
    if (fd >= 0)
        door_take(door, fd, &storage, len, ERROR_NO_DESCRIPTORS);
    door_refill(door);
    if (err != -EAGAIN)
        log_event(
            LOG_WARN, "no-descriptors",
            LOG_TEXT("action", "raise the limit of open files (ulimit -n), or set max-connections below it"));
    return err;
}

static void door_set_accepting(struct door *door, bool is_accepting);

static void door_pause_over(struct timer *timer)
{
    door_set_accepting(container_of(timer, struct door, pause), true);
}

/* Nothing to accept with: waiting a little is better than being told again at once. */
static void door_pause(struct door *door)
{
    door_set_accepting(door, false);
    timer_arm(&door->shard->wheel, &door->pause, door->shard->now_ms + DOOR_PAUSE_MS);
}

static void door_accept(struct watch *watch, uint32_t events)
{
    struct door *door = container_of(watch, struct listener, watch)->door;
    (void)events;
    door_refill(door);
    for (unsigned i = 0; i < DOOR_ACCEPTS; i++) {
        struct sockaddr_storage storage;
        socklen_t len = sizeof(storage);
        int fd = accept4(watch->fd, (struct sockaddr *)&storage, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int err = fd < 0 ? -errno : 0;
        if (err == -EMFILE || err == -ENFILE)
            err = door_refuse_with_spare(door, watch->fd);
        else if (fd >= 0)
            door_take(door, fd, &storage, len, ERROR_NONE);
        if (err == -EAGAIN)
            return;
        if (err && err != -EINTR && err != -ECONNABORTED) {
            door_pause(door);
            return;
        }
    }
}

static void door_set_accepting(struct door *door, bool is_accepting)
{
    for (size_t i = 0; i < door->listener_count; i++)
        if (watch_change(&door->listeners[i].watch, door->shard->epoll_fd, is_accepting ? EPOLLIN : 0,
                         door_accept))
            log_event(LOG_ERROR, "listener-lost", LOG_TEXT("reason", strerror(errno)));
}

int door_bind(const struct address *address, bool is_shared)
{
    const int on = 1;
    const int off = 0;
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->storage.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (is_shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) == 0)
        return fd;
    int err = errno;
    close(fd);
    return -err;
}

int door_listen(struct door *door, int fd)
{
    struct listener *listener = &door->listeners[door->listener_count];
    listener->door = door;
    listener->watch.fd = fd;
    door->listener_count++;
    return 0;
}

int door_open(struct door *door)
{
    for (size_t i = 0; i < door->listener_count; i++) {
        struct watch *watch = &door->listeners[i].watch;
        int err = listen(watch->fd, DOOR_BACKLOG) == 0 ? 0 : -errno;
        if (!err)
            err = watch_add(watch, door->shard->epoll_fd, watch->fd, EPOLLIN, door_accept);
        if (err)
            return err;
    }
    return 0;
}

void door_stop_accepting(struct door *door)
{
    timer_stop(&door->shard->wheel, &door->pause);
    for (size_t i = 0; i < door->listener_count; i++) {
        int fd = door->listeners[i].watch.fd;
        watch_remove(&door->listeners[i].watch, door->shard->epoll_fd);
        if (fd >= 0)
            close(fd);
    }
}

int door_init_accepting(struct door *door)
{
    timer_init(&door->pause, door_pause_over);
    door->listeners = calloc(door->shard->options->http.count, sizeof(*door->listeners));
    door_refill(door);
    return door->listeners && door->spare_count > 0 ? 0 : -ENOMEM;
}

void door_deinit_accepting(struct door *door)
{
    for (size_t i = 0; i < door->listener_count; i++)
        if (door->listeners[i].watch.fd >= 0)
            close(door->listeners[i].watch.fd);
    while (door->spare_count > 0)
        close(door->spares[--door->spare_count]);
    free(door->listeners);
}
