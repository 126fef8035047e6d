/* SPDX-License-Identifier: MIT */
#include "shard/drain.h"

#include "shard/shard.h"

#define DRAIN_STEP_MS 10u

static bool drain_is_held(const struct client *client)
{
    return client->owner && client->owner->ops->is_held(client->owner);
}

static void drain_count_client(struct client *client)
{
    client->shard->drain.held += drain_is_held(client);
    client->shard->drain.busy += client->owner != NULL;
}

static void drain_count_socket(struct stream_socket *socket)
{
    socket->outlet.shard->drain.held += stream_socket_is_held(socket);
    socket->outlet.shard->drain.busy++;
}

uint64_t drain_count_requests(struct shard *shard)
{
    shard->drain.held = shard->drain.busy = 0;
    cell_table_visit(&shard->cells, drain_count_client);
    return shard->drain.busy - shard->drain.held;
}

/* Whether it is one more's turn to be let go, so that they go evenly over the drain time. Counts it then. */
static bool drain_lets_go(struct shard *shard, bool is_held)
{
    struct drain *drain = &shard->drain;
    uint64_t past_ms = shard->now_ms - drain->begin_ms;
    uint64_t drain_ms = shard->options->drain_time_ms;
    uint64_t due = past_ms >= drain_ms ? UINT64_MAX : drain->held * past_ms / drain_ms;
    bool is_due = is_held && drain->ended < due;
    drain->ended += is_due;
    return is_due;
}

static void drain_client(struct client *client)
{
    if (drain_lets_go(client->shard, drain_is_held(client)))
        client->owner->ops->drain(client->owner);
}

static void drain_socket(struct stream_socket *socket)
{
    if (drain_lets_go(socket->outlet.shard, stream_socket_is_held(socket)))
        stream_socket_drain(socket);
}

/* Another process has taken over in the same moment in which these came, and they cannot be passed on to it,
 * or not yet: they know nothing of that, and are answered. */
static bool drain_awaits_requests(const struct shard *shard)
{
    return shard->group->is_succeeded &&
           shard->now_ms - shard->drain.begin_ms < shard->options->drain_time_ms &&
           (door_awaits_requests(&shard->door) || !list_is_empty(&shard->porch.visitors) ||
            !list_is_empty(&shard->listeners.vestibule.guests));
}

/* Who is let go may still be busy with his last bytes, which the next step sees. */
static void drain_step(struct timer *timer)
{
    struct shard *shard = container_of(timer, struct shard, drain.timer);
    struct drain *drain = &shard->drain;
    drain->held = drain->ended;
    drain->busy = shard->farewells.count;
    cell_table_visit(&shard->cells, drain_count_client);
    stream_table_visit(&shard->streams, drain_count_socket);
    if (shard->group->is_succeeded)
        door_pass_on(&shard->door);
    if (drain->busy == 0 && !drain_awaits_requests(shard)) {
        shard_move(shard, SHARD_CLOSING);
        return;
    }
    cell_table_visit(&shard->cells, drain_client);
    stream_table_visit(&shard->streams, drain_socket);
    timer_arm(&shard->wheel, timer, shard->now_ms + DRAIN_STEP_MS);
}

void drain_init(struct drain *drain)
{
    *drain = (struct drain){0};
    timer_init(&drain->timer, drain_step);
}

void drain_begin(struct shard *shard)
{
    shard->drain.begin_ms = shard->now_ms;
    listener_table_shut(&shard->listeners);
    if (!shard->group->is_succeeded) {
        vestibule_shut(&shard->listeners.vestibule);
        porch_shut(&shard->porch);
        door_shut(&shard->door);
    }
    timer_arm(&shard->wheel, &shard->drain.timer, shard->now_ms);
}

static void drain_cut_client(struct client *client)
{
    if (client->owner)
        client->owner->ops->cut(client->owner);
}

void drain_cut(struct shard *shard)
{
    door_cut(&shard->door);
    cell_table_visit(&shard->cells, drain_cut_client);
    stream_table_visit(&shard->streams, stream_socket_cut);
    farewell_table_cut(&shard->farewells);
}
