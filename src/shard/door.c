/* SPDX-License-Identifier: MIT */
#include "shard/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "shard/door_refusal.h"
#include "shard/passage.h"
#include "shard/shard.h"
#include "shard/socket.h"
#include "shard/transfer.h"

/* A head that comes in more pieces than this is looked at by the clock only, so that a byte at a time does
 * not cost a look each. */
#define DOOR_PEEKS 64u
/* Requests of one client that has sent them at once, before it is the next one's turn. */
#define DOOR_PIPELINED 64u
#define DOOR_ROUND_MS 100u
#define DOOR_HOLD_MS 10u
/* Whoever is over a limit is waited for this long until his head is there, so many at a time. */
#define DOOR_UNWANTED_MS 500u
#define DOOR_UNWANTED_MOST 64u

static void door_arm_for_first(struct door *door, struct timer *timer, enum client_state state)
{
    struct list *first = list_first(&door->clients[state]);
    if (first)
        timer_arm(&door->shard->wheel, timer, container_of(first, struct client, link)->deadline_ms);
}

static void door_arm(struct door *door)
{
    bool has_round =
        !list_is_empty(&door->clients[CLIENT_SLOW]) || !list_is_empty(&door->clients[CLIENT_UNWANTED]);
    door_arm_for_first(door, &door->deadline, CLIENT_WAITING);
    door_arm_for_first(door, &door->idle, CLIENT_KEPT);
    if (has_round && !timer_is_armed(&door->round))
        timer_arm(&door->shard->wheel, &door->round, door->shard->now_ms + DOOR_ROUND_MS);
}

static void client_event(struct watch *watch, uint32_t events);

static bool door_is_held(const struct door *door)
{
    return door->shard->state == SHARD_RUNNING && door->shard->group->is_succeeded;
}

/* Whether it is another process that answers what this client sends next. */
static bool door_passes_on(const struct client *client)
{
    const struct shard *shard = client->shard;
    return shard->state == SHARD_DRAINING && shard->group->is_succeeded && !client->is_tls &&
           client->state != CLIENT_UNWANTED;
}

/* For the first request of a connection, or one whose memory does not suit it. Returns whether it has a cell
 * now. */
static bool door_place(struct client *client, size_t pool_bytes)
{
    struct shard *shard = client->shard;
    bool is_watched_whole = client->cell && client->state != CLIENT_SLOW;
    if (!is_watched_whole && watch_change(&client->watch, shard->epoll_fd, CLIENT_EVENTS, client_event)) {
        door_refuse(client, ERROR_OUT_OF_MEMORY);
        return false;
    }
    if (client->cell && cell_suits(client->cell, pool_bytes)) {
        cell_readmit(client);
    } else {
        if (client->cell && !cell_leave(client))
            return false;
        struct cell *cell = cell_for(&shard->cells, pool_bytes);
        if (!cell) {
            door_refuse(client,
                        errno == EMFILE || errno == ENFILE ? ERROR_NO_DESCRIPTORS : ERROR_OUT_OF_MEMORY);
            return false;
        }
        cell_admit(cell, client);
    }
    return client->state == CLIENT_ADMITTED;
}

/* Of the `len` bytes that were looked at, some are not in the socket any more, nor set aside. */
static bool door_has_taken(const struct client *client, size_t len)
{
    return !client_can_wait(client) && len > client->early.len;
}

/* Keeps what was looked at from `at` on, to be read before what is in the socket. Returns whether it could;
 * otherwise the client is refused. */
static bool door_set_aside(struct client *client, size_t at, size_t len)
{
    struct shard *shard = client->shard;
    enum error_code error = early_keep(&client->early, shard, shard->door.head + at, len - at);
    if (error != ERROR_NONE)
        door_refuse(client, error);
    return error == ERROR_NONE;
}

/* To be handled on another shard. Of what was looked at, what is not in the socket any more goes along. */
static void door_send(struct client *client, struct shard *home, size_t len)
{
    if (door_has_taken(client, len) && !door_set_aside(client, 0, len))
        return;
    if (transfer_begin(client, home))
        door_refuse(client, ERROR_OUT_OF_MEMORY);
}

static struct shard *door_find_home(const struct client *client, const struct door_head *head)
{
    struct shard_group *group = client->shard->group;
    struct shard *home = group->count > 1 && group->door_handlers->home
                             ? group->door_handlers->home(group, head->target)
                             : NULL;
    return home ? home : client->shard;
}

/* Who asks is counted while his request is here, when it is not whose the connection is. Returns whether he
 * may. */
static bool door_admit_asker(struct client *client, size_t len)
{
    struct shard *shard = client->shard;
    struct connection_limits *limits = shard->group->limits;
    struct address asker = {.len = sizeof(client->address)};
    memcpy(&asker.storage, client->address, sizeof(client->address));
    shard->group->door_handlers->find_asker(shard->options, shard->door.head, len, &asker);
    memcpy(client->asker, &asker.storage, sizeof(client->asker));
    connection_limits_unname(limits, &client->key);
    connection_limits_name(limits, &asker, &client->key);
    const struct limit_caps caps = {.of_address = shard->options->max_connections_per_ip};
    enum error_code error = connection_limits_check(limits, &client->key, &caps);
    if (error != ERROR_NONE)
        door_refusal_tell(client, error, len);
    return error == ERROR_NONE;
}

/* What is behind the head in the `len` bytes that were looked at is of its body, or of the next request. */
static void door_admit(struct client *client, const struct door_head *head, size_t len)
{
    struct shard *home = door_find_home(client, head);
    if (home != client->shard) {
        door_send(client, home, len);
        return;
    }
    if (client->is_proxy && !door_admit_asker(client, head->len))
        return;
    /* Of a new client all is still in the socket, and of one that sends many at once all has been set aside.
     */
    bool is_taken = door_has_taken(client, len);
    if (is_taken && !door_set_aside(client, head->len, len))
        return;
    if (!door_place(client, head->pool_bytes))
        return;
    client->framing = head->framing;
    if (is_taken || client_skip(client, head->len) == 0)
        cell_feed(client, head->fed, head->fed_len);
    else
        cell_feed(client, NULL, 0);
}

/* Of a later head the beginning is taken out of the socket, which may have no room for all of it: the kernel
 * counts a segment with other requests in it until its last byte is read. */
static void door_wait_for_more(struct client *client, size_t len)
{
    if (!client_can_wait(client))
        (void)door_set_aside(client, 0, len); /* who cannot be kept is refused */
}

/* The first byte of a later request has come, or the bytes at which a client was looked again were none. */
static void door_see_bytes(struct client *client, size_t len)
{
    struct shard *shard = client->shard;
    client->bytes = (uint32_t)len;
    if (len > 0 && (client->state == CLIENT_KEPT || client->state == CLIENT_RETURNED)) {
        client->peeks = 0;
        client->deadline_ms = shard->now_ms + shard->options->head_timeout_ms;
        client_move(client, CLIENT_WAITING);
    } else if (client->state == CLIENT_RETURNED) {
        client_move(client, CLIENT_KEPT);
    }
    door_arm(&shard->door);
}

/* All there is to look at: what was set aside, and what is in the socket; there it stays for a new client.
 * Returns its length, or -1 when there will be no more than nothing. */
static ssize_t door_gather(struct client *client)
{
    struct door *door = &client->shard->door;
    size_t len = client->early.len;
    memcpy(door->head, early_text(&client->early).bytes, len);
    if (len > 0 && client->state == CLIENT_RETURNED && !client->has_input)
        return (ssize_t)len;
    char *rest = door->head + len;
    ssize_t got = client_can_wait(client) ? socket_peek(client->watch.fd, rest, door->head_size - len)
                                          : socket_read(client->watch.fd, rest, door->head_size - len);
    bool has_ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (has_ended && len == 0)
        return -1;
    len += got > 0 ? (size_t)got : 0;
    client->has_input = len == door->head_size;
    return (ssize_t)len;
}

static void door_judge(struct client *client, const struct door_head *head, size_t len)
{
    bool is_enough = head->error != ERROR_NONE || head->len > 0;
    if (client->state == CLIENT_UNWANTED && is_enough)
        door_refuse(client, client->refusal);
    else if (head->error != ERROR_NONE)
        door_refuse(client, head->error);
    else if (head->len > 0)
        door_admit(client, head, len);
    else
        door_wait_for_more(client, len);
}

static bool door_waits_for(const struct client *client)
{
    return client->state == CLIENT_WAITING || client->state == CLIENT_SLOW || client->state == CLIENT_KEPT;
}

static void door_look(struct client *client)
{
    struct door *door = &client->shard->door;
    struct door_head head = {.fed = door->fed};
    if (door_passes_on(client)) {
        passage_begin(client);
        return;
    }
    ssize_t len = client->is_broken ? -1 : door_gather(client);
    if (len < 0) {
        client_close(client);
        return;
    }
    door_see_bytes(client, (size_t)len);
    if (len > 0) {
        client->shard->group->door_handlers->inspect(door->head, (size_t)len, &head);
        if (head.error == ERROR_NONE && head.len == 0 && (size_t)len == door->head_size)
            head.error = head.has_target ? ERROR_HEAD_TOO_LARGE : ERROR_TARGET_TOO_LONG;
        client->has_input = client->has_input || (client_can_wait(client) && (size_t)len > head.len);
        door->seen = (size_t)len;
        door_judge(client, &head, (size_t)len);
        door->seen = 0;
    }
    /* A peer that has closed its side can never complete the head. */
    if (client->has_hung_up && door_waits_for(client))
        client_close(client);
}

/* An EventSource has to be told in another way than everybody else, and only the head tells who it is: mostly
 * it is there already. Who is silent is not let to fill the place of others. */
static void door_turn_away(struct client *client, enum error_code error)
{
    struct door *door = &client->shard->door;
    if (door->unwanted_count >= DOOR_UNWANTED_MOST)
        (void)door_refusal_drop_longest(door); /* so many are there */
    client_move(client, CLIENT_UNWANTED);
    client->refusal = error;
    client->deadline_ms = client->shard->now_ms + DOOR_UNWANTED_MS;
    door_look(client);
    door_arm(door);
}

/* A client that waits; NULL when memory is out, and then nothing has been taken. */
static struct client *door_add(struct shard *shard, const struct arrival *arrival)
{
    struct client *client = calloc(1, sizeof(*client));
    if (!client)
        return NULL;
    if (watch_add(&client->watch, shard->epoll_fd, arrival->fd, CLIENT_EVENTS_AT_DOOR, client_event)) {
        free(client);
        return NULL;
    }
    client->shard = shard;
    client->state = arrival->is_kept ? CLIENT_KEPT : CLIENT_WAITING;
    client->is_tls = socket_is_tls(arrival->fd);
    client->key = arrival->key;
    client->entrance = arrival->entrance;
    client->is_proxy = arrival->is_proxy;
    memcpy(client->address, &arrival->address.storage, sizeof(client->address));
    memcpy(client->asker, client->address, sizeof(client->asker));
    client->deadline_ms = shard->now_ms + (arrival->is_kept ? shard->options->keepalive_timeout_ms
                                                            : shard->options->head_timeout_ms);
    client_line_up(client, &shard->door.clients[client->state]);
    door_arm(&shard->door);
    return client;
}

static enum error_code door_take(struct listener *listener, const struct arrival *arrival)
{
    struct shard *shard = listener->shard;
    const int on = 1;
    const unsigned unread_ms = (unsigned)shard->options->slow_client_timeout_ms;
    struct client *client = door_add(shard, arrival);
    if (!client)
        return ERROR_OUT_OF_MEMORY;
    setsockopt(arrival->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    /* Whether an answer still waits here or in the kernel, which takes megabytes: a client that takes none of
     * it is cut. */
    setsockopt(arrival->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof(unread_ms));
    if (arrival->error != ERROR_NONE)
        door_turn_away(client, arrival->error);
    else if (door_passes_on(client))
        passage_begin(client);
    return ERROR_NONE;
}

int door_receive(struct shard *shard, const struct arrival *arrival, const struct early *early)
{
    struct client *client = door_add(shard, arrival);
    if (!client)
        return -ENOMEM;
    client->early = *early;
    client->has_input = true;
    if (!door_is_held(&shard->door))
        door_look(client);
    return 0;
}

static size_t door_render_error(struct listener *listener, enum error_code error, char *to, size_t size)
{
    return door_refusal_render(listener->shard, error, "", 0, to, size);
}

static bool door_make_room(struct listener *listener)
{
    return door_refusal_drop_longest(&listener->shard->door);
}

const struct listener_ops door_listener_ops = {
    .take = door_take,
    .render_error = door_render_error,
    .make_room = door_make_room,
};

static void door_client_event(struct client *client)
{
    struct watch *watch = &client->watch;
    struct door *door = &client->shard->door;
    door_look(client);
    if (client->state == CLIENT_WAITING && ++client->peeks > DOOR_PEEKS) {
        client_move(client, CLIENT_SLOW);
        if (watch_change(watch, door->shard->epoll_fd, EPOLLRDHUP | EPOLLET, client_event))
            client_close(client);
        door_arm(door);
    }
}

static void client_tell_owner(struct client *client, uint32_t events)
{
    if (client->owner && !client->is_broken && events & (EPOLLIN | EPOLLRDHUP))
        client->owner->ops->readable(client->owner);
    if (client->owner && (client->is_broken || client->has_hung_up))
        client->owner->ops->hung_up(client->owner);
    if (client->owner && !client->is_broken && events & EPOLLOUT)
        client->owner->ops->writable(client->owner);
}

static void client_event(struct watch *watch, uint32_t events)
{
    struct client *client = container_of(watch, struct client, watch);
    /* What is deciphered already rings nobody. */
    if (client->is_tls && socket_is_holding(watch->fd))
        events |= EPOLLIN;
    client->has_input = client->has_input || events & EPOLLIN;
    client->has_hung_up = client->has_hung_up || events & EPOLLRDHUP;
    client->is_broken = client->is_broken || events & (EPOLLHUP | EPOLLERR);
    if (client->is_tls && events & EPOLLOUT)
        (void)socket_flush(watch->fd); /* what is owed still rings again */
    if (client->state == CLIENT_ADMITTED)
        client_tell_owner(client, events);
    else if (client->state == CLIENT_UNWANTED || !door_is_held(&client->shard->door))
        door_client_event(client);
}

void door_keep(struct client *client)
{
    struct shard *shard = client->shard;
    bool has_more = client->has_input || client->early.len > 0 || client->has_hung_up || client->is_broken;
    cell_park(client);
    client->bytes = 0;
    client->deadline_ms = shard->now_ms + shard->options->keepalive_timeout_ms;
    client_move(client, has_more ? CLIENT_RETURNED : CLIENT_KEPT);
    door_arm(&shard->door);
}

bool door_has_to_run(const struct door *door)
{
    return !list_is_empty(&door->clients[CLIENT_RETURNED]) && !door_is_held(door);
}

/* A few requests of each: who sends many at once does not keep the others waiting long, and what he publishes
 * leaves in few writes. */
void door_run(struct door *door)
{
    struct list now;
    if (door_is_held(door))
        return;
    list_init(&now);
    list_splice(&now, &door->clients[CLIENT_RETURNED]);
    list_drain (link, &now) {
        struct client *client = container_of(link, struct client, link);
        door_look(client);
        for (unsigned i = 1; i < DOOR_PIPELINED && client->state == CLIENT_RETURNED; i++)
            door_look(client);
    }
}

/* What has come in time counts, however late the loop comes to look at it. */
static void door_end_wait(struct client *client)
{
    door_look(client);
    if (!door_waits_for(client) || client->deadline_ms > client->shard->now_ms)
        return;
    if (client->state == CLIENT_KEPT)
        client_close(client);
    else
        door_refuse(client, ERROR_HEAD_TIMEOUT);
}

static void door_end_waits(struct door *door, struct timer *timer, enum client_state state)
{
    struct list *link;
    if (door_is_held(door)) {
        timer_arm(&door->shard->wheel, timer, door->shard->now_ms + DOOR_ROUND_MS);
        return;
    }
    while ((link = list_first(&door->clients[state]))) {
        struct client *client = container_of(link, struct client, link);
        if (client->deadline_ms > door->shard->now_ms)
            break;
        door_end_wait(client);
    }
    door_arm(door);
}

static void door_idle(struct timer *timer)
{
    door_end_waits(container_of(timer, struct door, idle), timer, CLIENT_KEPT);
}

static void door_deadline(struct timer *timer)
{
    door_end_waits(container_of(timer, struct door, deadline), timer, CLIENT_WAITING);
}

static void door_round(struct timer *timer)
{
    struct door *door = container_of(timer, struct door, round);
    uint64_t now_ms = door->shard->now_ms;
    list_for_each_safe (link, &door->clients[CLIENT_SLOW]) {
        struct client *client = container_of(link, struct client, link);
        if (door_is_held(door))
            break;
        if (client->deadline_ms <= now_ms)
            door_end_wait(client);
        else
            door_look(client);
    }
    list_for_each_safe (link, &door->clients[CLIENT_UNWANTED]) {
        struct client *client = container_of(link, struct client, link);
        if (client->deadline_ms <= now_ms)
            door_refusal_drop(client);
    }
    door_arm(door);
}

static const enum client_state door_states[] = {CLIENT_WAITING, CLIENT_SLOW, CLIENT_KEPT, CLIENT_RETURNED};

/* Those who have sent something, or have gone, while nobody looked. */
static void door_look_at_held(struct door *door)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(door_states); i++)
        list_for_each_safe (link, &door->clients[door_states[i]]) {
            struct client *client = container_of(link, struct client, link);
            if (client->has_input || client->has_hung_up || client->is_broken)
                door_look(client);
        }
}

static void door_hold_looked(struct timer *timer)
{
    struct door *door = container_of(timer, struct door, hold);
    if (door_is_held(door))
        door_hold(door);
    else if (door->shard->state == SHARD_RUNNING)
        door_look_at_held(door);
}

void door_hold(struct door *door)
{
    timer_arm(&door->shard->wheel, &door->hold, door->shard->now_ms + DOOR_HOLD_MS);
}

void door_pass_on(struct door *door)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(door_states); i++)
        list_for_each_safe (link, &door->clients[door_states[i]]) {
            struct client *client = container_of(link, struct client, link);
            bool has_something = client->has_input || client->has_hung_up || client->is_broken;
            if (has_something || door_passes_on(client))
                door_look(client);
            else if (client->state == CLIENT_KEPT)
                client_close(client);
        }
}

int door_init(struct door *door, struct shard *shard)
{
    *door = (struct door){.shard = shard, .head_size = shard->options->head_size_bytes};
    for (unsigned i = 0; i < ARRAY_LENGTH(door->clients); i++)
        list_init(&door->clients[i]);
    timer_init(&door->deadline, door_deadline);
    timer_init(&door->idle, door_idle);
    timer_init(&door->round, door_round);
    timer_init(&door->hold, door_hold_looked);
    door->head = malloc(door->head_size);
    door->fed = malloc(door->head_size + DOOR_FED_MORE);
    return door->head && door->fed ? 0 : -ENOMEM;
}

static void door_close_all(struct door *door, enum client_state state)
{
    list_for_each_safe (link, &door->clients[state]) {
        struct client *client = container_of(link, struct client, link);
        if (client->bytes > 0 && (state == CLIENT_WAITING || state == CLIENT_SLOW))
            door_refuse(client, ERROR_STOPPING);
        else
            client_close(client);
    }
}

void door_shut(struct door *door)
{
    door_close_all(door, CLIENT_WAITING);
    door_close_all(door, CLIENT_SLOW);
    door_close_all(door, CLIENT_UNWANTED);
}

bool door_awaits_requests(const struct door *door)
{
    return !list_is_empty(&door->clients[CLIENT_WAITING]) || !list_is_empty(&door->clients[CLIENT_SLOW]) ||
           !list_is_empty(&door->clients[CLIENT_KEPT]);
}

void door_cut(struct door *door)
{
    /* A request that has come is answered, although it has not been looked at yet. */
    list_for_each_safe (link, &door->clients[CLIENT_KEPT])
        door_look(container_of(link, struct client, link));
    door_shut(door);
    door_close_all(door, CLIENT_KEPT);
    door_close_all(door, CLIENT_RETURNED);
}

void door_deinit(struct door *door)
{
    free(door->head);
    free(door->fed);
}
