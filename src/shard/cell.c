/* SPDX-License-Identifier: MIT */
#include "shard/cell.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "shard/door.h"
#include "shard/shard.h"

/* How often a daemon that says that it has more to do is run before others get their turn. */
#define CELL_RUNS 4u
#define CELL_TICK_MS 1000u
#define CELL_ROUNDS_PER_HEARTBEAT 3u

/* Memory for each connection; libmicrohttpd touches half of it whatever the request, so the steps are small
 * where many are held. */
static const size_t cell_pool_bytes[CELL_CLASSES] = {2048,  3072,  4096,  6144,  8192,   12288,
                                                     16384, 24576, 32768, 65536, 131072, 196608};

void cell_table_init(struct cell_table *table, struct shard *shard)
{
    table->shard = shard;
    table->count = 0;
    table->client_count = 0;
    list_init(&table->to_run);
    for (unsigned i = 0; i < CELL_CLASSES; i++)
        list_init(&table->classes[i]);
}

static void cell_want_run(struct cell *cell)
{
    if (list_is_empty(&cell->run_link))
        list_append(&cell->shard->cells.to_run, &cell->run_link);
}

static void cell_ready(struct watch *watch, uint32_t events)
{
    (void)events; /* the daemon finds out itself */
    cell_want_run(container_of(watch, struct cell, watch));
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

static void cell_connection_notified(void *cls, struct MHD_Connection *connection, void **socket_context,
                                     enum MHD_ConnectionNotificationCode code)
{
    struct cell *cell = cls;
    struct client *client = *socket_context;
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = cell->entering;
        return;
    }
    /* One that fails late has been begun and is ended again: cell_admit lets go of it. */
    if (client == cell->entering)
        return;
    cell->count--;
    cell->shard->cells.client_count--;
    client->cell = NULL;
    client_move(client, CLIENT_GONE);
    cell_place(cell);
}

static void cell_round(struct cell *cell, uint64_t now_ms)
{
    uint64_t period_ms = cell->shard->options->heartbeat_ms / CELL_ROUNDS_PER_HEARTBEAT;
    if (now_ms < cell->next_round_ms)
        return;
    cell->next_round_ms = now_ms + period_ms;
    list_for_each_safe (link, &cell->clients) {
        struct client *client = container_of(link, struct client, link);
        if (client->owner)
            client->owner->ops->tick(client->owner, now_ms);
    }
}

static void cell_arm_tick(struct cell *cell)
{
    uint64_t period_ms = cell->shard->options->heartbeat_ms / CELL_ROUNDS_PER_HEARTBEAT;
    if (period_ms > CELL_TICK_MS)
        period_ms = CELL_TICK_MS;
    timer_arm(&cell->shard->wheel, &cell->tick, cell->shard->now_ms + (period_ms > 0 ? period_ms : 1));
}

/* libmicrohttpd's own timeouts (keep-alive) only come true when it runs. */
static void cell_ticked(struct timer *timer)
{
    struct cell *cell = container_of(timer, struct cell, tick);
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    if (cell->count == 0) {
        cell_free(cell);
        return;
    }
    cell_round(cell, cell->shard->now_ms);
    if (MHD_get_timeout(cell->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0)
        cell_want_run(cell);
    cell_arm_tick(cell);
}

static struct MHD_Daemon *cell_start_daemon(struct cell *cell)
{
    const struct shard *shard = cell->shard;
    const struct cell_handlers *handlers = shard->group->handlers;
    const unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
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

struct cell *cell_for(struct cell_table *table, size_t pool_bytes)
{
    unsigned class = 0;
    while (class < CELL_CLASSES - 1 && cell_pool_bytes[class] < pool_bytes)
        class ++;
    struct list *link = list_first(&table->classes[class]);
    if (link && container_of(link, struct cell, link)->count < CELL_CONNECTIONS)
        return container_of(link, struct cell, link);
    return cell_new(table->shard, class);
}

void cell_admit(struct cell *cell, struct client *client)
{
    const struct sockaddr *address = (const struct sockaddr *)(const void *)client->address;
    socklen_t len = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    cell->entering = client;
    bool is_taken = MHD_add_connection(cell->daemon, client->watch.fd, address, len) == MHD_YES;
    cell->entering = NULL;
    if (!is_taken) {
        log_event(LOG_ERROR, "connection-lost", LOG_TEXT("reason", strerror(errno)));
        client->watch.fd = -1; /* libmicrohttpd has closed it */
        client_move(client, CLIENT_GONE);
        return;
    }
    client->cell = cell;
    client_move(client, CLIENT_ADMITTED);
    cell->count++;
    cell->shard->cells.client_count++;
    cell_place(cell);
    cell_want_run(cell);
}

void cell_resume(struct cell *cell, struct MHD_Connection *connection)
{
    MHD_resume_connection(connection);
    cell_want_run(cell);
}

static void cell_run(struct cell *cell)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    unsigned runs = 0;
    do
        MHD_run(cell->daemon);
    while (MHD_get_timeout(cell->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0 && ++runs < CELL_RUNS);
    if (runs == CELL_RUNS)
        cell_want_run(cell);
}

void cell_table_run(struct cell_table *table)
{
    struct list now;
    struct list *link;
    list_init(&now);
    list_splice(&now, &table->to_run);
    while ((link = list_first(&now))) {
        list_remove(link);
        cell_run(container_of(link, struct cell, run_link));
    }
}

void cell_table_visit(struct cell_table *table, void (*visit)(struct client *client))
{
    for (unsigned i = 0; i < CELL_CLASSES; i++) {
        list_for_each_safe (link, &table->classes[i]) {
            list_for_each_safe (client_link, &container_of(link, struct cell, link)->clients)
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
}
