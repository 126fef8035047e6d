/* SPDX-License-Identifier: MIT */
#include "shard/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "shard/shard.h"
#include "shard/socket.h"

#define CLIENT_SKIP_BYTES 16384u

static void client_free(struct garbage *garbage)
{
    struct client *client = container_of(garbage, struct client, garbage);
    early_drop(&client->early, client->shard);
    free(client);
}

/* Only who comes after a reload with a shorter time has to be put before others. */
void client_line_up(struct client *client, struct list *list)
{
    struct list *after = list;
    while (after->previous != list &&
           container_of(after->previous, struct client, link)->deadline_ms > client->deadline_ms)
        after = after->previous;
    list_append(after, &client->link);
}

void client_move(struct client *client, enum client_state to)
{
    static const unsigned legal[] = {
        [CLIENT_WAITING] =
            1u << CLIENT_SLOW | 1u << CLIENT_UNWANTED | 1u << CLIENT_ADMITTED | 1u << CLIENT_GONE,
        [CLIENT_SLOW] = 1u << CLIENT_ADMITTED | 1u << CLIENT_GONE,
        [CLIENT_UNWANTED] = 1u << CLIENT_GONE,
        [CLIENT_ADMITTED] = 1u << CLIENT_KEPT | 1u << CLIENT_RETURNED | 1u << CLIENT_GONE,
        [CLIENT_KEPT] = 1u << CLIENT_WAITING | 1u << CLIENT_ADMITTED | 1u << CLIENT_GONE,
        [CLIENT_RETURNED] =
            1u << CLIENT_WAITING | 1u << CLIENT_KEPT | 1u << CLIENT_ADMITTED | 1u << CLIENT_GONE,
        [CLIENT_GONE] = 0,
    };
    struct shard *shard = client->shard;
    enum client_state from = client->state;
    assert(legal[from] & 1u << to);
    shard->door.unwanted_count += to == CLIENT_UNWANTED;
    if (from == CLIENT_UNWANTED)
        shard->door.unwanted_count--;
    else if ((to == CLIENT_UNWANTED || to == CLIENT_GONE) && !client->is_released)
        connection_limits_remove(shard->group->limits, &client->key);
    if (client->is_proxy && (to == CLIENT_KEPT || to == CLIENT_RETURNED))
        connection_limits_unname(shard->group->limits, &client->key);
    client->state = to;
    list_remove(&client->link);
    switch (to) {
    case CLIENT_WAITING:
        client_line_up(client, &shard->door.clients[to]);
        break;
    case CLIENT_SLOW:
    case CLIENT_UNWANTED:
    case CLIENT_KEPT:
    case CLIENT_RETURNED:
        list_append(&shard->door.clients[to], &client->link);
        break;
    case CLIENT_ADMITTED:
        list_append(&client->cell->clients, &client->link);
        break;
    case CLIENT_GONE:
        watch_remove(&client->watch, shard->epoll_fd);
        shard_reap(shard, &client->garbage, client_free);
        break;
    }
}

ssize_t client_read(struct client *client, char *to, size_t len)
{
    char ignored[CLIENT_SKIP_BYTES];
    if (client->early.len > 0)
        return (ssize_t)early_read(&client->early, client->shard, to, len);
    if (!to && len > sizeof(ignored))
        len = sizeof(ignored);
    return socket_read(client->watch.fd, to ? to : ignored, len);
}

int client_skip(struct client *client, size_t len)
{
    while (len > 0) {
        ssize_t taken = client_read(client, NULL, len);
        if (taken <= 0)
            return -EIO;
        len -= (size_t)taken;
    }
    return 0;
}

ssize_t client_peek(struct client *client, const char **bytes, char *room, size_t size)
{
    struct early *early = &client->early;
    *bytes = room;
    if (early->len == 0 && !client->is_tls)
        return socket_peek(client->watch.fd, room, size);
    if (early->len == 0) {
        /* What of it is the next head's has to fit where the door looks at heads. */
        size_t most = client->shard->door.head_size;
        ssize_t got = socket_read(client->watch.fd, room, size < most ? size : most);
        if (got <= 0)
            return got;
        if (early_keep(early, client->shard, room, (size_t)got) != ERROR_NONE) {
            errno = ENOBUFS;
            return -1;
        }
    }
    *bytes = early_text(early).bytes;
    return early->len < size ? (ssize_t)early->len : (ssize_t)size;
}

void client_rewatch(struct client *client)
{
    if (watch_change(&client->watch, client->shard->epoll_fd, CLIENT_EVENTS, client->watch.on_event))
        client->is_broken = true;
}

void client_close(struct client *client)
{
    int fd = client->watch.fd;
    if (client->cell) {
        cell_close(client);
        return;
    }
    client_move(client, CLIENT_GONE);
    if (fd >= 0)
        socket_close(fd);
}
