/* SPDX-License-Identifier: MIT */
#include "shard/cell.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "shard/door.h"
#include "shard/feed.h"
#include "shard/life.h"
#include "shard/shard.h"
#include "shard/socket.h"
#include "shard/tls.h"

/* How often a daemon that says that it has more to do is run before others get their turn. */
#define CELL_RUNS 4u
#define CELL_TICK_MS 1000u
#define CELL_ROUNDS_PER_HEARTBEAT 3u
/* A connection whose memory is larger than its next request needs keeps it up to three times as much. */
#define CELL_CLASSES_TO_SPARE 3u

/* Memory for each connection; libmicrohttpd touches half of it whatever the request, so the steps are small
 * where many are held. */
static const size_t cell_pool_bytes[CELL_CLASSES] = {2048,  3072,  4096,  6144,  8192,   12288,
                                                     16384, 24576, 32768, 65536, 131072, 196608};

int cell_table_init(struct cell_table *table, struct shard *shard)
{
    table->shard = shard;
    table->count = 0;
    table->client_count = 0;
    list_init(&table->to_run);
    for (unsigned i = 0; i < CELL_CLASSES; i++)
        list_init(&table->classes[i]);
    table->spare = fcntl(shard->epoll_fd, F_DUPFD_CLOEXEC, 0);
    return table->spare >= 0 ? 0 : -errno;
}

static void cell_want_run(struct cell *cell)
{
    if (list_is_empty(&cell->run_link))
        list_append(&cell->shard->cells.to_run, &cell->run_link);
}

static void cell_ready(struct watch *watch, uint32_t events)
{
    struct cell *cell = container_of(watch, struct cell, watch);
    (void)events; /* the daemon finds out itself */
    cell->has_events = true;
    cell_want_run(cell);
}

/* Full cells stand behind those with room, so that the first of a class is the one to take. */
static void cell_place(struct cell *cell)
{
    struct list *class = &cell->shard->cells.classes[cell->class];
    list_remove(&cell->link);
    if (cell->count < CELL_CONNECTIONS)
        list_prepend(class, &cell->link);
    else
        list_append(class, &cell->link);
}

static void cell_free(struct cell *cell)
{
    watch_remove(&cell->watch, cell->shard->epoll_fd);
    /* Closes what is left, which moves the cell in its list once more. */
    MHD_stop_daemon(cell->daemon);
    timer_stop(&cell->shard->wheel, &cell->tick);
    list_remove(&cell->link);
    list_remove(&cell->run_link);
    cell->shard->cells.count--;
    free(cell);
}

/* libmicrohttpd closes the socket, with what its peer has not been told yet: that goes on under a descriptor
 * of ours. A peer that is told nothing of an end knows that it is none. */
static void cell_end_tls(struct client *client, struct MHD_Connection *connection)
{
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (!socket_is_tls(fd))
        return; /* it has moved on before */
    if (client->is_whole)
        socket_end(fd);
    int rest = client->is_whole && socket_is_owing(fd) ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (rest >= 0) {
        socket_move(fd, rest);
        farewell_begin(&client->shard->farewells, rest);
    }
    tls_forget(fd);
}

static void cell_connection_notified(void *cls, struct MHD_Connection *connection, void **socket_context,
                                     enum MHD_ConnectionNotificationCode code)
{
    struct cell *cell = cls;
    struct client *client = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = cell->entering;
        cell->entering->connection = connection;
        return;
    }
    cell->count--;
    cell->shard->cells.client_count--;
    cell_place(cell);
    if (client == cell->leaving) {
        cell->leaving = NULL;
        return;
    }
    if (client->owner)
        client->owner->ops->lost(client->owner);
    if (client->is_tls)
        cell_end_tls(client, connection);
    client->cell = NULL;
    client_move(client, CLIENT_GONE);
}

uint64_t cell_round_ms(const struct shard *shard)
{
    return life_look_ms(shard, shard->options->heartbeat_ms / CELL_ROUNDS_PER_HEARTBEAT);
}

static void cell_round(struct cell *cell)
{
    if (cell->shard->now_ms < cell->next_round_ms)
        return;
    cell->next_round_ms = cell->shard->now_ms + cell_round_ms(cell->shard);
    list_for_each_safe (link, &cell->clients) {
        struct client *client = container_of(link, struct client, link);
        if (client->owner)
            client->owner->ops->tick(client->owner);
    }
}

static void cell_arm_tick(struct cell *cell)
{
    uint64_t period_ms =
        cell_round_ms(cell->shard) < CELL_TICK_MS ? cell_round_ms(cell->shard) : CELL_TICK_MS;
    timer_arm(&cell->shard->wheel, &cell->tick, cell->shard->now_ms + (period_ms > 0 ? period_ms : 1));
}

static bool cell_has_more(struct cell *cell)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    return MHD_get_timeout(cell->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0;
}

/* libmicrohttpd's own timeouts (keep-alive) only come true when it runs. */
static void cell_ticked(struct timer *timer)
{
    struct cell *cell = container_of(timer, struct cell, tick);
    if (cell->count == 0) {
        cell_free(cell);
        return;
    }
    cell_round(cell);
    if (cell_has_more(cell))
        cell_want_run(cell);
    cell_arm_tick(cell);
}

/* With MHD_USE_TURBO a connection is tried first, and in the daemon's epoll only while it has to wait: never
 * when it is being fed. */
static struct MHD_Daemon *cell_start_daemon(struct cell *cell)
{
    const struct shard *shard = cell->shard;
    const struct cell_handlers *handlers = shard->group->handlers;
    const unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
                           MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, handlers->handle, cell->shard, MHD_OPTION_EXTERNAL_LOGGER, handlers->log,
        cell->shard, MHD_OPTION_CONNECTION_LIMIT, CELL_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        cell_pool_bytes[cell->class], MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((shard->options->keepalive_timeout_ms + 999) / 1000), MHD_OPTION_NOTIFY_CONNECTION,
        cell_connection_notified, cell, MHD_OPTION_NOTIFY_COMPLETED, handlers->completed, cell->shard,
        MHD_OPTION_URI_LOG_CALLBACK, handlers->begin, cell->shard, MHD_OPTION_END);
}

static struct cell *cell_new(struct shard *shard, unsigned class)
{
    struct cell *cell = calloc(1, sizeof(*cell));
    if (!cell)
        return NULL;
    cell->shard = shard;
    cell->class = class;
    cell->watch.fd = -1;
    list_init(&cell->link);
    list_init(&cell->run_link);
    list_init(&cell->clients);
    timer_init(&cell->tick, cell_ticked);
    cell->daemon = cell_start_daemon(cell);
    const union MHD_DaemonInfo *info =
        cell->daemon ? MHD_get_daemon_info(cell->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || watch_add(&cell->watch, shard->epoll_fd, info->epoll_fd, EPOLLIN, cell_ready)) {
        if (cell->daemon)
            MHD_stop_daemon(cell->daemon);
        free(cell);
        return NULL;
    }
    shard->cells.count++;
    cell->next_round_ms = shard->now_ms;
    cell_place(cell);
    cell_arm_tick(cell);
    return cell;
}

static unsigned cell_class(size_t pool_bytes)
{
    unsigned class = 0;
    while (class < CELL_CLASSES - 1 && cell_pool_bytes[class] < pool_bytes)
        class ++;
    return class;
}

bool cell_suits(const struct cell *cell, size_t pool_bytes)
{
    unsigned class = cell_class(pool_bytes);
    return cell->class >= class && cell->class <= class + CELL_CLASSES_TO_SPARE;
}

struct cell *cell_for(struct cell_table *table, size_t pool_bytes)
{
    unsigned class = cell_class(pool_bytes);
    struct list *link = list_first(&table->classes[class]);
    if (link && container_of(link, struct cell, link)->count < CELL_CONNECTIONS)
        return container_of(link, struct cell, link);
    return cell_new(table->shard, class);
}

void cell_admit(struct cell *cell, struct client *client)
{
    const struct sockaddr *address = (const struct sockaddr *)(const void *)client->address;
    socklen_t len = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    struct tls *tls = tls_take(client->watch.fd);
    cell->entering = client;
    bool is_taken = MHD_add_connection(cell->daemon, client->watch.fd, address, len) == MHD_YES;
    cell->entering = NULL;
    if (is_taken) {
        tls_give(client->watch.fd, tls);
    } else {
        log_event(LOG_ERROR, "connection-lost", LOG_TEXT("reason", strerror(errno)));
        tls_free(tls);
        client->watch.fd = -1; /* libmicrohttpd has closed it */
        client_move(client, CLIENT_GONE);
        return;
    }
    client->cell = cell;
    client_move(client, CLIENT_ADMITTED);
    cell->count++;
    cell->shard->cells.client_count++;
    cell_place(cell);
}

void cell_resume(struct cell *cell, struct MHD_Connection *connection)
{
    MHD_resume_connection(connection);
    cell_want_run(cell);
}

void cell_release(struct client *client, struct MHD_UpgradeResponseHandle *handle)
{
    client->is_released = true;
    watch_remove(&client->watch, client->shard->epoll_fd);
    (void)MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE); /* it only fails when repeated */
    cell_want_run(client->cell);
}

static void cell_run(struct cell *cell)
{
    unsigned runs = 0;
    do {
        feed_run(cell->daemon, cell->has_events);
        cell->has_events = false;
    } while (cell_has_more(cell) && ++runs < CELL_RUNS);
    if (runs == CELL_RUNS)
        cell_want_run(cell);
}

void cell_readmit(struct client *client)
{
    client_move(client, CLIENT_ADMITTED);
    MHD_resume_connection(client->connection);
}

/* Returns whether libmicrohttpd has taken the bytes, or the end when they are NULL. */
static bool cell_run_fed(struct cell *cell, int fd, const char *bytes, size_t len)
{
    feed_begin(fd, bytes, len);
    for (unsigned runs = 0; feed_is_open(fd) && runs < CELL_RUNS; runs++)
        feed_run(cell->daemon, false);
    if (cell_has_more(cell))
        cell_want_run(cell);
    return !feed_end(fd);
}

void cell_feed(struct client *client, const char *head, size_t len)
{
    int fd = client->watch.fd;
    if (cell_run_fed(client->cell, fd, head, len))
        return;
    log_event(LOG_ERROR, "connection-lost", LOG_TEXT("reason", "libmicrohttpd did not take the head"));
    shutdown(fd, SHUT_RDWR);
}

void cell_park(struct client *client)
{
    MHD_suspend_connection(client->connection);
}

void cell_close(struct client *client)
{
    struct cell *cell = client->cell;
    int fd = client->watch.fd;
    watch_remove(&client->watch, client->shard->epoll_fd);
    cell_readmit(client);
    (void)cell_run_fed(cell, fd, NULL, 0);
    assert(client->state == CLIENT_GONE);
}

bool cell_leave(struct client *client)
{
    struct cell *cell = client->cell;
    struct shard *shard = client->shard;
    int fd = client->watch.fd;
    void (*on_event)(struct watch *, uint32_t) = client->watch.on_event;
    watch_remove(&client->watch, shard->epoll_fd);
    /* libmicrohttpd closes what it has, and leaves a number for the new descriptor. */
    int err = dup3(fd, shard->cells.spare, O_CLOEXEC) < 0 ? -errno : 0;
    struct tls *tls = tls_take(fd);
    cell->leaving = client;
    client->cell = NULL;
    MHD_resume_connection(client->connection);
    (void)cell_run_fed(cell, fd, NULL, 0);
    assert(!cell->leaving);
    fd = fcntl(shard->cells.spare, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        tls_give(fd, tls);
    else
        tls_free(tls);
    if (!err)
        err = fd < 0 ? -errno : watch_add(&client->watch, shard->epoll_fd, fd, CLIENT_EVENTS, on_event);
    (void)dup3(shard->epoll_fd, shard->cells.spare, O_CLOEXEC); /* the next time, if not now */
    if (!err)
        return true;
    log_event(LOG_ERROR, "connection-lost", LOG_TEXT("reason", strerror(-err)));
    client->watch.fd = fd < 0 ? -1 : fd;
    client_close(client);
    return false;
}

void cell_table_run(struct cell_table *table)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &table->to_run);
    list_drain (link, &now)
        cell_run(container_of(link, struct cell, run_link));
}

void cell_table_visit(struct cell_table *table, void (*visit)(struct client *client))
{
    for (unsigned i = 0; i < 2 * CELL_CLASSES; i++) {
        bool is_for_full = i % 2 == 0;
        list_for_each_safe (link, &table->classes[i / 2]) {
            struct cell *cell = container_of(link, struct cell, link);
            if ((cell->count == CELL_CONNECTIONS) != is_for_full)
                continue;
            list_for_each_safe (client_link, &cell->clients)
                visit(container_of(client_link, struct client, link));
        }
    }
}

void cell_table_deinit(struct cell_table *table)
{
    for (unsigned i = 0; i < CELL_CLASSES; i++) {
        struct list *link;
        while ((link = list_first(&table->classes[i])))
            cell_free(container_of(link, struct cell, link));
    }
    close(table->spare);
}
