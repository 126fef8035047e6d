/* SPDX-License-Identifier: MIT */
#include "shard/door_refusal.h"

#include "shard/shard.h"
#include "shard/socket.h"

#define DOOR_ERROR_BYTES 1024u

size_t door_refusal_render(struct shard *shard, enum error_code error, const char *head, size_t head_len,
                           char *to, size_t size)
{
    shard_count(shard, METRIC_ERRORS, 1);
    return shard->group->door_handlers->render_error(shard->options, error, head, head_len, to, size);
}

static void door_write_refusal(struct shard *shard, int fd, enum error_code error, const char *head,
                               size_t head_len)
{
    char text[DOOR_ERROR_BYTES];
    farewell_tell(fd, text, door_refusal_render(shard, error, head, head_len, text, sizeof(text)));
}

void door_write_error(struct shard *shard, int fd, enum error_code error)
{
    door_write_refusal(shard, fd, error, "", 0);
}

void door_refusal_tell(struct client *client, enum error_code error, size_t len)
{
    struct shard *shard = client->shard;
    if (client->cell && !cell_leave(client))
        return;
    int fd = client->watch.fd;
    door_write_refusal(shard, fd, error, shard->door.head, len);
    shard_count(shard, METRIC_REFUSED, 1);
    client_move(client, CLIENT_GONE);
    if (error == ERROR_NO_DESCRIPTORS)
        farewell_close(fd); /* there is no descriptor to wait with */
    else
        farewell_begin(&shard->farewells, fd);
}

void door_refuse(struct client *client, enum error_code error)
{
    struct door *door = &client->shard->door;
    size_t len = door->seen;
    if (len == 0 && client_can_wait(client)) {
        ssize_t got = socket_peek(client->watch.fd, door->head, door->head_size);
        len = got > 0 ? (size_t)got : 0;
    }
    door_refusal_tell(client, error, len);
}

void door_refusal_drop(struct client *client)
{
    shard_count(client->shard, METRIC_REFUSED, 1);
    client_close(client);
}

bool door_refusal_drop_longest(struct door *door)
{
    struct list *link = list_first(&door->clients[CLIENT_UNWANTED]);
    if (link)
        door_refusal_drop(container_of(link, struct client, link));
    return link != NULL;
}
