/* SPDX-License-Identifier: MIT */
#include "shard/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mailbox.h"
#include "shard/client.h"
#include "shard/shard.h"

struct transfer {
    struct letter letter;
    struct shard *home;
    struct arrival arrival;
    struct early early;
};

/* A shard that is closing takes nobody any more. */
void transfer_end(struct shard *shard, const struct arrival *arrival, struct early *early)
{
    bool is_over = shard->state != SHARD_RUNNING && shard->state != SHARD_DRAINING;
    if (!is_over && door_receive(shard, arrival, early) == 0)
        return;
    /* Who has sent nothing would take it for the answer to what he is about to send. */
    if (!arrival->is_kept)
        door_write_error(shard, arrival->fd, is_over ? ERROR_STOPPING : ERROR_OUT_OF_MEMORY);
    farewell_close(arrival->fd);
    connection_limits_remove(shard->group->limits, &arrival->key);
    early_drop(early, shard);
}

static void transfer_arrive(struct letter *letter)
{
    struct transfer *transfer = container_of(letter, struct transfer, letter);
    transfer_end(transfer->home, &transfer->arrival, &transfer->early);
    free(transfer);
}

static void transfer_pack(struct transfer *transfer, struct client *client)
{
    struct arrival *arrival = &transfer->arrival;
    memcpy(&arrival->address.storage, client->address, sizeof(client->address));
    arrival->address.len = sizeof(client->address);
    arrival->entrance = client->entrance;
    arrival->is_proxy = client->is_proxy;
    transfer->early = client->early;
    client->early = (struct early){0};
}

int transfer_begin(struct client *client, struct shard *home)
{
    struct shard *shard = client->shard;
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    if (!transfer)
        return -ENOMEM;
    if (client->cell && !cell_leave(client)) {
        free(transfer);
        return 0;
    }
    transfer->letter.deliver = transfer_arrive;
    transfer->home = home;
    transfer_pack(transfer, client);
    int fd = client->watch.fd;
    watch_remove(&client->watch, shard->epoll_fd);
    transfer->arrival.fd = fd;
    /* It is counted twice for a moment: who goes takes his own count with him. */
    connection_limits_add(shard->group->limits, client->is_proxy ? NULL : &transfer->arrival.address,
                          &transfer->arrival.key);
    client_move(client, CLIENT_GONE);
    mailbox_post(&home->mailbox, &transfer->letter);
    return 0;
}
