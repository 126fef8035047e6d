/* SPDX-License-Identifier: MIT */
#include "shard/passage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/proxies.h"
#include "shard/shard.h"
#include "shard/transfer.h"

static struct passenger *passenger_new(struct shard *shard, struct text early)
{
    struct passenger *passenger = malloc(sizeof(*passenger) + early.len);
    if (!passenger)
        return NULL;
    *passenger = (struct passenger){.shard = shard, .early_len = early.len};
    memcpy(passenger->early, early.bytes, early.len);
    return passenger;
}

/* On the main thread. */
static void passage_leave(struct letter *letter)
{
    struct passenger *passenger = container_of(letter, struct passenger, letter);
    struct shard_group *group = passenger->shard->group;
    group->pass_on(group, passenger);
    close(passenger->fd);
    free(passenger);
}

void passage_begin(struct client *client)
{
    struct shard *shard = client->shard;
    struct passenger *passenger = passenger_new(shard, early_text(&client->early));
    if (!passenger || (client->cell && !cell_leave(client))) {
        if (!passenger)
            client_close(client);
        free(passenger);
        return;
    }
    passenger->letter.deliver = passage_leave;
    passenger->fd = client->watch.fd;
    passenger->entrance = client->entrance;
    passenger->is_kept = client->bytes == 0 && passenger->early_len == 0 &&
                         (client->state == CLIENT_KEPT || client->state == CLIENT_RETURNED);
    memcpy(passenger->address, client->address, sizeof(passenger->address));
    watch_remove(&client->watch, shard->epoll_fd);
    client_move(client, CLIENT_GONE);
    mailbox_post(shard->group->home, &passenger->letter);
}

/* It was admitted by the other process, and is counted here. */
static void passage_arrive(struct letter *letter)
{
    struct passenger *passenger = container_of(letter, struct passenger, letter);
    struct shard *shard = passenger->shard;
    struct early early = {0};
    struct arrival arrival = {.fd = passenger->fd,
                              .address.len = sizeof(passenger->address),
                              .entrance = passenger->entrance,
                              .is_kept = passenger->is_kept};
    memcpy(&arrival.address.storage, passenger->address, sizeof(passenger->address));
    arrival.is_proxy = proxies_include(shard->options, &arrival.address);
    connection_limits_add(shard->group->limits, arrival.is_proxy ? NULL : &arrival.address, &arrival.key);
    shard_count(shard, METRIC_ACCEPTED, 1);
    if (early_keep(&early, shard, passenger->early, passenger->early_len) == ERROR_NONE) {
        transfer_end(shard, &arrival, &early);
    } else {
        connection_limits_remove(shard->group->limits, &arrival.key);
        close(arrival.fd);
    }
    free(passenger);
}

int passage_end(struct shard *shard, int fd, const struct entrance *entrance, bool is_kept,
                struct text address, struct text early)
{
    bool is_good = address.len == CLIENT_ADDRESS_BYTES && early.len <= shard->door.head_size;
    struct passenger *passenger = is_good ? passenger_new(shard, early) : NULL;
    if (!passenger) {
        close(fd);
        return is_good ? -ENOMEM : -EINVAL;
    }
    passenger->letter.deliver = passage_arrive;
    passenger->fd = fd;
    passenger->entrance = entrance;
    passenger->is_kept = is_kept;
    memcpy(passenger->address, address.bytes, address.len);
    mailbox_post(&shard->mailbox, &passenger->letter);
    return 0;
}
