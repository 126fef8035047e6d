/* SPDX-License-Identifier: MIT */
#include "shard/client.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "shard/shard.h"

static void client_free(struct garbage *garbage)
{
    struct client *client = container_of(garbage, struct client, garbage);
    free(client->early);
    free(client);
}

static void client_uncount(struct client *client)
{
    connection_limits_remove(client->shard->group->limits, client->key, client->key_len);
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
        [CLIENT_WAITING] = 1u << CLIENT_SLOW | 1u << CLIENT_UNWANTED | 1u << CLIENT_ADMITTED |
                           1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_SLOW] = 1u << CLIENT_ADMITTED | 1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_UNWANTED] = 1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_ADMITTED] = 1u << CLIENT_KEPT | 1u << CLIENT_RETURNED | 1u << CLIENT_GONE,
        [CLIENT_KEPT] =
            1u << CLIENT_WAITING | 1u << CLIENT_ADMITTED | 1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_RETURNED] = 1u << CLIENT_WAITING | 1u << CLIENT_KEPT | 1u << CLIENT_ADMITTED |
                            1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_REFUSED] = 1u << CLIENT_GONE,
        [CLIENT_GONE] = 0,
    };
    struct shard *shard = client->shard;
    enum client_state from = client->state;
    assert(legal[from] & 1u << to);
    if (from == CLIENT_REFUSED)
        shard->door.refused_count--;
    else if (from == CLIENT_UNWANTED)
        shard->door.unwanted_count--;
    else if (to == CLIENT_UNWANTED || to == CLIENT_REFUSED || to == CLIENT_GONE)
        client_uncount(client);
    client->state = to;
    list_remove(&client->link);
    switch (to) {
    case CLIENT_WAITING:
        client_line_up(client, &shard->door.waiting);
        break;
    case CLIENT_SLOW:
        list_append(&shard->door.slow, &client->link);
        break;
    case CLIENT_ADMITTED:
        list_append(&client->cell->clients, &client->link);
        break;
    case CLIENT_UNWANTED:
        list_append(&shard->door.unwanted, &client->link);
        shard->door.unwanted_count++;
        break;
    case CLIENT_KEPT:
        list_append(&shard->door.kept, &client->link);
        break;
    case CLIENT_RETURNED:
        list_append(&shard->door.returned, &client->link);
        break;
    case CLIENT_REFUSED:
        list_append(&shard->door.refused, &client->link);
        shard->door.refused_count++;
        break;
    case CLIENT_GONE:
        watch_remove(&client->watch, shard->epoll_fd);
        shard_reap(shard, &client->garbage, client_free);
        break;
    }
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
        close(fd);
}
