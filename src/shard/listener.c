/* SPDX-License-Identifier: MIT */
#include "shard/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "shard/porch.h"
#include "shard/proxies.h"
#include "shard/rates.h"
#include "shard/shard.h"
#include "shard/socket.h"
#include "shard/tls.h"

#define LISTENER_BACKLOG 4096
/* Connections accepted before the loop looks at everything else again. */
#define LISTENER_ACCEPTS 64u
#define LISTENER_PAUSE_MS 100u

/* Who comes. */

static void listener_refuse(struct listener *listener, const struct arrival *arrival, enum error_code error)
{
    char text[LISTENER_ERROR_BYTES];
    if (listener->identity && !socket_is_tls(arrival->fd))
        porch_write_alert(arrival->fd);
    else
        farewell_tell(arrival->fd, text, listener->ops->render_error(listener, error, text, sizeof(text)));
    farewell_close(arrival->fd);
    connection_limits_remove(listener->shard->group->limits, &arrival->key);
    shard_count(listener->shard, METRIC_REFUSED, 1);
}

void listener_hand_over(struct listener *listener, const struct arrival *arrival)
{
    enum error_code error = listener->ops->take(listener, arrival);
    if (error != ERROR_NONE)
        listener_refuse(listener, arrival, error);
}

/* Who is over a limit does not get as far as a handshake, which costs more than all that comes after it. */
static void listener_admit_to_porch(struct listener *listener, const struct arrival *arrival)
{
    enum error_code error = arrival->error;
    if (error == ERROR_NONE)
        error = porch_take(listener, arrival);
    if (error != ERROR_NONE)
        listener_refuse(listener, arrival, error);
}

static struct limit_caps listener_caps(const struct options *options)
{
    return (struct limit_caps){options->max_connections, options->max_connections_per_ip,
                               ERROR_TOO_MANY_CONNECTIONS};
}

void listener_admit(struct listener *listener, struct arrival *arrival)
{
    const struct options *options = listener->shard->options;
    struct connection_limits *limits = listener->shard->group->limits;
    const struct limit_caps caps = listener_caps(options);
    arrival->is_proxy = listener->entrance->is_http && proxies_include(options, &arrival->address);
    if (!arrival->is_proxy)
        connection_limits_name(limits, &arrival->address, &arrival->key);
    if (arrival->error == ERROR_NONE)
        arrival->error = connection_limits_check(limits, &arrival->key, &caps);
    if (arrival->error == ERROR_NONE)
        arrival->error = rates_admit_connection(listener->shard, &arrival->key);
    if (listener->identity)
        listener_admit_to_porch(listener, arrival);
    else
        listener_hand_over(listener, arrival);
}

/* Whoever says whose a connection is has to be somebody whose word counts. */
static void listener_turn_stranger_away(struct listener *listener, const struct arrival *arrival)
{
    char peer[ADDRESS_TEXT_MAX];
    address_format(&arrival->address, peer);
    log_event(LOG_WARN, "not-a-trusted-proxy", LOG_TEXT("peer", peer),
              LOG_TEXT("listener", listener->entrance->address),
              LOG_TEXT("action", "name the proxy in trusted-proxies if it is one of yours"));
    socket_close(arrival->fd);
    connection_limits_remove(listener->shard->group->limits, &arrival->key);
    shard_count(listener->shard, METRIC_REFUSED, 1);
}

static void listener_receive_proxy(struct listener *listener, struct arrival *arrival)
{
    const struct options *options = listener->shard->options;
    if (!proxies_include(options, &arrival->address)) {
        listener_turn_stranger_away(listener, arrival);
        return;
    }
    const struct limit_caps caps = listener_caps(options);
    arrival->error = connection_limits_check(listener->shard->group->limits, &arrival->key, &caps);
    enum error_code error = vestibule_take(listener, arrival);
    if (error != ERROR_NONE)
        listener_refuse(listener, arrival, error);
}

/* Returns 0 or -errno: -EAGAIN when nobody is there. `error` is ERROR_NONE, or why nobody more can be taken.
 */
static int listener_accept_one(struct listener *listener, enum error_code error)
{
    struct connection_limits *limits = listener->shard->group->limits;
    struct arrival arrival = {
        .address.len = sizeof(arrival.address.storage), .error = error, .entrance = listener->entrance};
    arrival.fd = accept4(listener->watch.fd, (struct sockaddr *)&arrival.address.storage,
                         &arrival.address.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (arrival.fd < 0)
        return -errno;
    shard_count(listener->shard, METRIC_ACCEPTED, 1);
    connection_limits_add(limits, NULL, &arrival.key);
    if (listener->entrance->has_proxy_header && error == ERROR_NONE)
        listener_receive_proxy(listener, &arrival);
    else
        listener_admit(listener, &arrival);
    return 0;
}

static void listener_refill(struct listener_table *table)
{
    while (table->spare_count < LISTENER_SPARES) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        table->spares[table->spare_count++] = fd;
    }
}

/* With no descriptor left, a spare one is given up for as long as it takes to say so to one more client.
 * Returns as listener_accept_one; whether anybody is there the kernel says only to who has a descriptor. */
static int listener_refuse_with_spare(struct listener *listener)
{
    struct listener_table *table = &listener->shard->listeners;
    if (table->spare_count == 0 &&
        (vestibule_make_room(&table->vestibule) || listener->ops->make_room(listener)))
        listener_refill(table);
    if (table->spare_count == 0)
        return -EMFILE;
    close(table->spares[--table->spare_count]);
    int err = listener_accept_one(listener, ERROR_NO_DESCRIPTORS);
    listener_refill(table);
    return err;
}

static void listener_warn(int err)
{
    log_event(
        LOG_WARN, "no-descriptors", LOG_TEXT("reason", strerror(-err)),
        LOG_TEXT("action", "raise the limit of open files (ulimit -n), or set max-connections below it"));
}

static void listener_accept(struct watch *watch, uint32_t events);

static void listener_set_accepting(struct listener_table *table, bool is_accepting)
{
    list_for_each (link, &table->listeners) {
        struct listener *listener = container_of(link, struct listener, link);
        if (watch_change(&listener->watch, table->shard->epoll_fd, is_accepting ? EPOLLIN : 0,
                         listener_accept))
            log_event(LOG_ERROR, "listener-lost", LOG_TEXT("reason", strerror(errno)));
    }
}

static void listener_pause_over(struct timer *timer)
{
    listener_set_accepting(container_of(timer, struct listener_table, pause), true);
}

/* Nothing to accept with: waiting a little is better than being told again at once. */
static void listener_pause(struct listener_table *table)
{
    listener_set_accepting(table, false);
    timer_arm(&table->shard->wheel, &table->pause, table->shard->now_ms + LISTENER_PAUSE_MS);
}

static void listener_accept(struct watch *watch, uint32_t events)
{
    struct listener *listener = container_of(watch, struct listener, watch);
    struct listener_table *table = &listener->shard->listeners;
    (void)events;
    if (listener->shard->group->is_succeeded) {
        /* Who comes waits for the other process, or until there is none. */
        listener_pause(table);
        return;
    }
    listener_refill(table);
    for (unsigned i = 0; i < LISTENER_ACCEPTS; i++) {
        int err = listener_accept_one(listener, ERROR_NONE);
        bool is_full = err == -EMFILE || err == -ENFILE;
        if (is_full && listener->ops->make_room) {
            err = listener_refuse_with_spare(listener);
            if (err != -EAGAIN)
                listener_warn(-EMFILE);
        }
        if (err == -EAGAIN)
            return;
        if (err && err != -EINTR && err != -ECONNABORTED) {
            listener_warn(err);
            listener_pause(table);
            return;
        }
    }
}

/* The table. */

int listener_table_init(struct listener_table *table, struct shard *shard)
{
    *table = (struct listener_table){.shard = shard};
    list_init(&table->listeners);
    timer_init(&table->pause, listener_pause_over);
    vestibule_init(&table->vestibule, shard);
    listener_refill(table);
    return table->spare_count > 0 ? 0 : -EMFILE;
}

int listener_add(struct listener_table *table, int fd, const struct listener_ops *ops,
                 const struct entrance *entrance, void *context, struct tls_identity *identity)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    *listener = (struct listener){
        .watch.fd = fd, .shard = table->shard, .ops = ops, .entrance = entrance, .context = context};
    listener->identity = identity ? tls_identity_ref(identity) : NULL;
    list_append(&table->listeners, &listener->link);
    return 0;
}

void listener_table_renew(struct listener_table *table, const struct entrance *entrance,
                          struct tls_identity *identity)
{
    list_for_each (link, &table->listeners) {
        struct listener *listener = container_of(link, struct listener, link);
        if (listener->entrance != entrance)
            continue;
        tls_identity_unref(listener->identity);
        listener->identity = tls_identity_ref(identity);
    }
}

int listener_table_open(struct listener_table *table)
{
    list_for_each (link, &table->listeners) {
        struct listener *listener = container_of(link, struct listener, link);
        int fd = listener->watch.fd;
        int err = listen(fd, LISTENER_BACKLOG) == 0 ? 0 : -errno;
        if (!err)
            err = watch_add(&listener->watch, table->shard->epoll_fd, fd, EPOLLIN, listener_accept);
        listener->watch.fd = fd;
        if (err)
            return err;
    }
    return 0;
}

void listener_table_shut(struct listener_table *table)
{
    timer_stop(&table->shard->wheel, &table->pause);
    list_for_each (link, &table->listeners) {
        struct listener *listener = container_of(link, struct listener, link);
        int fd = listener->watch.fd;
        watch_remove(&listener->watch, table->shard->epoll_fd);
        if (fd >= 0)
            close(fd);
    }
}

void listener_table_deinit(struct listener_table *table)
{
    list_for_each_safe (link, &table->listeners) {
        struct listener *listener = container_of(link, struct listener, link);
        if (listener->watch.fd >= 0)
            close(listener->watch.fd);
        tls_identity_unref(listener->identity);
        free(listener);
    }
    while (table->spare_count > 0)
        close(table->spares[--table->spare_count]);
}
