/* SPDX-License-Identifier: MIT */
#include "shard/door.h"

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
/* A head that comes in more pieces than this is looked at by the clock only, so that a byte at a time does
 * not cost a look each. */
#define DOOR_PEEKS 64u
#define DOOR_ROUND_MS 100u
#define DOOR_PAUSE_MS 100u
#define DOOR_ERROR_BYTES 1024u
/* Closing with unread bytes would reset the connection, and the answer with it: so a client that is refused
 * may go on sending for this long and this much, and only so many may at a time. */
#define DOOR_REFUSED_MS 2000u
#define DOOR_REFUSED_BYTES (1u << 20)
#define DOOR_REFUSED_MOST 256u
/* Whoever is over a limit is waited for this long until his head is there, so many at a time. */
#define DOOR_UNWANTED_MS 500u
#define DOOR_UNWANTED_MOST 64u
/* Reads of such bytes before the loop looks at everything else again. */
#define DOOR_DISCARDS 4u

static void door_write_refusal(struct shard *shard, int fd, enum error_code error, const char *head,
                               size_t head_len)
{
    char text[DOOR_ERROR_BYTES];
    size_t len =
        shard->group->door_handlers->render_error(shard->options, error, head, head_len, text, sizeof(text));
    ssize_t sent = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* a client that does not take it sees the close */
    shutdown(fd, SHUT_WR);
    shard_count(shard, METRIC_ERRORS, 1);
}

void door_write_error(struct shard *shard, int fd, enum error_code error)
{
    door_write_refusal(shard, fd, error, "", 0);
}

static void door_arm(struct door *door)
{
    struct timer_wheel *wheel = &door->shard->wheel;
    struct list *first = list_first(&door->waiting);
    bool has_round =
        !list_is_empty(&door->slow) || !list_is_empty(&door->unwanted) || !list_is_empty(&door->refused);
    if (first)
        timer_arm(wheel, &door->deadline, container_of(first, struct client, link)->deadline_ms);
    if (has_round && !timer_is_armed(&door->round))
        timer_arm(wheel, &door->round, door->shard->now_ms + DOOR_ROUND_MS);
}

/* Drops what a refused peer has sent. Returns how many bytes, or -1 when there is nobody left to spare. */
static ssize_t door_discard(struct door *door, int fd)
{
    ssize_t dropped = 0;
    for (unsigned i = 0; i < DOOR_DISCARDS; i++) {
        ssize_t got = recv(fd, door->head, door->head_size, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return dropped;
        if (got <= 0)
            return -1;
        dropped += got;
    }
    return dropped;
}

static void door_refused_event(struct watch *watch, uint32_t events)
{
    struct client *client = container_of(watch, struct client, watch);
    ssize_t dropped = events & (EPOLLHUP | EPOLLERR) ? -1 : door_discard(&client->shard->door, watch->fd);
    if (dropped >= 0)
        client->bytes += (uint32_t)dropped;
    if (dropped < 0 || client->bytes > DOOR_REFUSED_BYTES)
        client_close(client);
}

static void door_refuse(struct client *client, enum error_code error)
{
    struct shard *shard = client->shard;
    struct door *door = &shard->door;
    struct list *oldest = door->refused_count >= DOOR_REFUSED_MOST ? list_first(&door->refused) : NULL;
    ssize_t got = recv(client->watch.fd, door->head, door->head_size, MSG_PEEK | MSG_DONTWAIT);
    door_write_refusal(shard, client->watch.fd, error, door->head, got > 0 ? (size_t)got : 0);
    shard_count(shard, METRIC_REFUSED, 1);
    if (error == ERROR_NO_DESCRIPTORS) {
        (void)door_discard(door, client->watch.fd); /* there is no descriptor to wait for more with */
        client_close(client);
        return;
    }
    if (oldest)
        client_close(container_of(oldest, struct client, link));
    client_move(client, CLIENT_REFUSED);
    client->deadline_ms = shard->now_ms + DOOR_REFUSED_MS;
    client->bytes = 0;
    if (watch_change(&client->watch, shard->epoll_fd, EPOLLIN | EPOLLRDHUP, door_refused_event))
        client_close(client);
    door_arm(door);
}

static bool door_refuse_longest_unwanted(struct door *door)
{
    struct list *link = list_first(&door->unwanted);
    struct client *client = link ? container_of(link, struct client, link) : NULL;
    if (client)
        door_refuse(client, client->refusal);
    return client != NULL;
}

static void client_event(struct watch *watch, uint32_t events)
{
    struct client *client = container_of(watch, struct client, watch);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        client->has_hung_up = true;
    if (!client->owner)
        return;
    if (client->has_hung_up)
        client->owner->ops->hung_up(client->owner);
    else if (events & EPOLLOUT)
        client->owner->ops->writable(client->owner);
}

/* From here on the shard only wants to know of hang-ups and of room to write: reading is the cell's. */
static void door_admit(struct client *client, size_t pool_bytes)
{
    struct shard *shard = client->shard;
    struct cell *cell = cell_for(&shard->cells, pool_bytes);
    if (!cell || watch_change(&client->watch, shard->epoll_fd, EPOLLRDHUP | EPOLLOUT | EPOLLET, client_event))
        door_refuse(client, ERROR_OUT_OF_MEMORY);
    else
        cell_admit(cell, client);
}

static void door_look(struct client *client)
{
    struct door *door = &client->shard->door;
    enum error_code error = ERROR_NONE;
    size_t pool_bytes = 0;
    ssize_t got = recv(client->watch.fd, door->head, door->head_size, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        client_close(client);
        return;
    }
    client->bytes = (uint32_t)got;
    size_t head_len =
        client->shard->group->door_handlers->inspect(door->head, (size_t)got, &pool_bytes, &error);
    if (error == ERROR_NONE && head_len == 0 && (size_t)got == door->head_size)
        error = ERROR_HEAD_TOO_LARGE;
    bool is_enough = error != ERROR_NONE || head_len > 0;
    if (client->state == CLIENT_UNWANTED && is_enough)
        door_refuse(client, client->refusal);
    else if (error != ERROR_NONE)
        door_refuse(client, error);
    else if (head_len > 0)
        door_admit(client, pool_bytes);
}

/* An EventSource has to be told in another way than everybody else, and only the head tells who it is: mostly
 * it is there already. Who is silent is not let to fill the place of others. */
static void door_turn_away(struct client *client, enum error_code error)
{
    struct door *door = &client->shard->door;
    if (door->unwanted_count >= DOOR_UNWANTED_MOST)
        door_refuse_longest_unwanted(door);
    client_move(client, CLIENT_UNWANTED);
    client->refusal = error;
    client->deadline_ms = client->shard->now_ms + DOOR_UNWANTED_MS;
    door_look(client);
    door_arm(door);
}

static bool door_has(const struct client *client)
{
    return client->state == CLIENT_WAITING || client->state == CLIENT_SLOW;
}

static void door_client_event(struct watch *watch, uint32_t events)
{
    struct client *client = container_of(watch, struct client, watch);
    struct door *door = &client->shard->door;
    if (events & (EPOLLHUP | EPOLLERR)) {
        client_close(client);
        return;
    }
    door_look(client);
    /* A peer that has closed its side can never complete the head. */
    if ((events & EPOLLRDHUP) && door_has(client)) {
        client_close(client);
    } else if (client->state == CLIENT_WAITING && ++client->peeks > DOOR_PEEKS) {
        client_move(client, CLIENT_SLOW);
        if (watch_change(watch, door->shard->epoll_fd, EPOLLRDHUP | EPOLLET, door_client_event))
            client_close(client);
        door_arm(door);
    }
}

static void door_deadline(struct timer *timer)
{
    struct door *door = container_of(timer, struct door, deadline);
    struct list *link;
    while ((link = list_first(&door->waiting))) {
        struct client *client = container_of(link, struct client, link);
        if (client->deadline_ms > door->shard->now_ms)
            break;
        door_refuse(client, ERROR_HEAD_TIMEOUT);
    }
    door_arm(door);
}

static void door_round(struct timer *timer)
{
    struct door *door = container_of(timer, struct door, round);
    uint64_t now_ms = door->shard->now_ms;
    list_for_each_safe (link, &door->slow) {
        struct client *client = container_of(link, struct client, link);
        if (client->deadline_ms <= now_ms)
            door_refuse(client, ERROR_HEAD_TIMEOUT);
        else
            door_look(client);
    }
    list_for_each_safe (link, &door->unwanted) {
        struct client *client = container_of(link, struct client, link);
        if (client->deadline_ms <= now_ms)
            door_refuse(client, client->refusal);
    }
    list_for_each_safe (link, &door->refused) {
        struct client *client = container_of(link, struct client, link);
        if (client->deadline_ms <= now_ms)
            client_close(client);
    }
    door_arm(door);
}

static void client_take_address(struct client *client, const struct sockaddr_storage *storage, socklen_t len)
{
    struct address address = {.storage = *storage, .len = len};
    if (len > sizeof(client->address))
        len = sizeof(client->address);
    memcpy(client->address, storage, len);
    client->key_len = (uint8_t)address_client_key(&address, client->key);
}

/* By deadline: only who comes after a reload with a shorter time has to be put before others. */
static void door_line_up(struct door *door, struct client *client)
{
    struct list *after = &door->waiting;
    while (after->previous != &door->waiting &&
           container_of(after->previous, struct client, link)->deadline_ms > client->deadline_ms)
        after = after->previous;
    list_append(after, &client->link);
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
    client->state = CLIENT_WAITING;
    client->deadline_ms = shard->now_ms + shard->options->head_timeout_ms;
    list_init(&client->link);
    door_line_up(door, client);
    client_take_address(client, storage, len);
    connection_limits_add(shard->group->limits, client->key, client->key_len);
    shard_count(shard, METRIC_ACCEPTED, 1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    /* Whether an answer still waits here or in the kernel, which takes megabytes: a client that takes none of
     * it is cut. */
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof(unread_ms));
    if (watch_add(&client->watch, shard->epoll_fd, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, door_client_event)) {
        client_close(client);
        door_write_error(shard, fd, ERROR_OUT_OF_MEMORY);
        close(fd);
        return;
    }
    if (error == ERROR_NONE)
        error = connection_limits_check(shard->group->limits, client->key, client->key_len, shard->options);
    if (error != ERROR_NONE)
        door_turn_away(client, error);
    door_arm(door);
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

int door_init(struct door *door, struct shard *shard)
{
    *door = (struct door){.shard = shard, .head_size = shard->options->head_size_bytes};
    list_init(&door->waiting);
    list_init(&door->slow);
    list_init(&door->unwanted);
    list_init(&door->refused);
    timer_init(&door->deadline, door_deadline);
    timer_init(&door->round, door_round);
    timer_init(&door->pause, door_pause_over);
    door->head = malloc(door->head_size);
    door->listeners = calloc(shard->options->http.count, sizeof(*door->listeners));
    door_refill(door);
    return door->head && door->listeners && door->spare_count > 0 ? 0 : -ENOMEM;
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

static void door_send_away(struct list *clients)
{
    list_for_each_safe (link, clients) {
        struct client *client = container_of(link, struct client, link);
        if (client->bytes > 0)
            door_refuse(client, ERROR_STOPPING);
        else
            client_close(client);
    }
}

void door_shut(struct door *door)
{
    timer_stop(&door->shard->wheel, &door->pause);
    for (size_t i = 0; i < door->listener_count; i++) {
        int fd = door->listeners[i].watch.fd;
        watch_remove(&door->listeners[i].watch, door->shard->epoll_fd);
        if (fd >= 0)
            close(fd);
    }
    door_send_away(&door->waiting);
    door_send_away(&door->slow);
    door_send_away(&door->unwanted);
}

void door_cut(struct door *door)
{
    list_for_each_safe (link, &door->refused)
        client_close(container_of(link, struct client, link));
}

void door_deinit(struct door *door)
{
    for (size_t i = 0; i < door->listener_count; i++)
        if (door->listeners[i].watch.fd >= 0)
            close(door->listeners[i].watch.fd);
    while (door->spare_count > 0)
        close(door->spares[--door->spare_count]);
    free(door->listeners);
    free(door->head);
}
