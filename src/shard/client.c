/* SPDX-License-Identifier: MIT */
#include "shard/client.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "shard/shard.h"

static void client_free(struct garbage *garbage)
{
    free(container_of(garbage, struct client, garbage));
}

static void client_uncount(struct client *client)
{
    connection_limits_remove(client->shard->group->limits, client->key, client->key_len);
}

void client_move(struct client *client, enum client_state to)
{
    static const unsigned legal[] = {
        [CLIENT_WAITING] = 1u << CLIENT_SLOW | 1u << CLIENT_UNWANTED | 1u << CLIENT_ADMITTED |
                           1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_SLOW] = 1u << CLIENT_ADMITTED | 1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_UNWANTED] = 1u << CLIENT_REFUSED | 1u << CLIENT_GONE,
        [CLIENT_ADMITTED] = 1u << CLIENT_GONE,
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

void client_close(struct client *client)
{
    int fd = client->watch.fd;
    client_move(client, CLIENT_GONE);
    if (fd >= 0)
        close(fd);
}
