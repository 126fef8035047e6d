/* SPDX-License-Identifier: MIT */
#include "broker/redis/occupancy.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/chronicle.h"
#include "config/channel_options.h"

/* Rooms told of in one call, and pieces of news: two arguments each. */
#define OCCUPANCY_BATCH 128u
#define OCCUPANCY_NEWS 100u
#define OCCUPANCY_RETRY_MS 500u

static const struct text occupancy_slot_name = {CHANNEL_EVENTS, sizeof(CHANNEL_EVENTS) - 1};

struct occupancy_call {
    struct call call;
    struct presence_desk *desk;
    unsigned count;
    struct redis_room *rooms[OCCUPANCY_BATCH]; /* held, until it is answered */
    struct list news;                          /* the chronicle's */
};

static struct presence_desk *desk_of(const struct redis_room *room)
{
    return container_of(room->super.roster, struct presence_desk, roster);
}

static bool room_is_to_be_told(const struct redis_room *room)
{
    return room->super.is_occupied && room->super.traits.has_events;
}

static void occupancy_arm(struct presence_desk *desk, uint64_t in_ms)
{
    timer_arm(&desk->broker->wheel, &desk->occupancy_timer, desk->broker->now_ms + in_ms);
}

static void occupancy_line_up(struct redis_room *room)
{
    if (!list_is_empty(&room->occupancy_link))
        return;
    room->super.holds++;
    list_append(&desk_of(room)->to_tell, &room->occupancy_link);
}

static void occupancy_ask(struct presence_desk *desk);

/* What was not told for sure is told again; leaves too, because Redis may know of this node still. */
static void occupancy_fail(struct occupancy_call *asked)
{
    struct presence_desk *desk = asked->desk;
    for (unsigned i = 0; i < asked->count; i++)
        occupancy_line_up(asked->rooms[i]);
    chronicle_settle(desk->chronicle, &asked->news, false);
    desk->occupancy_is_known = false;
    occupancy_arm(desk, OCCUPANCY_RETRY_MS);
}

/* Redis has forgotten this node: everything that is occupied here is told anew. */
static void occupancy_tell_all(struct presence_desk *desk)
{
    char name[CHANNEL_NAME_MAX + 1] = "";
    struct roster_room *super;
    for (bool is_first = true; (super = roster_next_room(&desk->roster, name, is_first)); is_first = false) {
        struct redis_room *room = container_of(super, struct redis_room, super);
        if (room_is_to_be_told(room) || room->occupancy_is_told)
            occupancy_line_up(room);
    }
}

static bool occupancy_has_more(const struct presence_desk *desk)
{
    return !list_is_empty(&desk->to_tell) || chronicle_has_news(desk->chronicle);
}

static void occupancy_wait(struct presence_desk *desk, long long asked_ms)
{
    bool is_soon = asked_ms >= 0 && asked_ms < PRESENCE_RENEW_MS;
    occupancy_arm(desk, occupancy_has_more(desk) ? 0 : is_soon ? (uint64_t)asked_ms : PRESENCE_RENEW_MS);
}

/* Logs that Redis cannot look at from there: name and birth of each, behind the numbers. */
static void occupancy_look(struct presence_desk *desk, const struct redisReply *reply)
{
    for (size_t i = 3; i + 1 < reply->elements; i += 2) {
        const struct redisReply *name = reply->element[i];
        const struct redisReply *born = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && born->type == REDIS_REPLY_STRING)
            chronicle_ask(desk->chronicle, (struct text){name->str, name->len},
                          (struct text){born->str, born->len});
    }
}

static void occupancy_answered(struct call *call, const struct redisReply *reply)
{
    struct occupancy_call *asked = container_of(call, struct occupancy_call, call);
    struct presence_desk *desk = asked->desk;
    desk->occupancy_is_asked = false;
    if (!desk_is_answer(call, reply, 3)) {
        (void)call_error(call, reply); /* the operator is told */
        occupancy_fail(asked);
    } else if (reply->element[0]->integer != 1) {
        occupancy_fail(asked);
        occupancy_tell_all(desk);
        occupancy_arm(desk, 0);
    } else {
        desk->occupancy_is_known = true;
        chronicle_settle(desk->chronicle, &asked->news, true);
        occupancy_wait(desk, reply->element[1]->integer);
        occupancy_look(desk, reply);
    }
    for (unsigned i = 0; i < asked->count; i++)
        roster_release(&asked->rooms[i]->super);
    call_deinit(call);
    free(asked);
}

static void occupancy_ask(struct presence_desk *desk)
{
    struct text words[4 + 2 * OCCUPANCY_BATCH + 2 * OCCUPANCY_NEWS];
    char lease_ms[21];
    char until_ms[21];
    unsigned count = 0;
    if (desk->occupancy_is_asked || desk->is_ending)
        return;
    uint16_t slot = call_slot(occupancy_slot_name.bytes, occupancy_slot_name.len);
    const struct redis_server *server = call_find_server(desk->broker, slot);
    struct occupancy_call *asked = server ? calloc(1, sizeof(*asked)) : NULL;
    if (!asked) {
        occupancy_arm(desk, OCCUPANCY_RETRY_MS);
        return;
    }
    asked->desk = desk;
    list_init(&asked->news);
    words[count++] = (struct text){desk->broker->node, REDIS_NODE_LEN};
    words[count++] = call_number(lease_ms, PRESENCE_LEASE_MS);
    words[count++] = text_of(desk->occupancy_is_known ? "0" : "1");
    words[count++] = call_number(until_ms, desk_sweep_until(server));
    while (asked->count < OCCUPANCY_BATCH && !list_is_empty(&desk->to_tell)) {
        struct redis_room *room = container_of(list_pop(&desk->to_tell), struct redis_room, occupancy_link);
        room->occupancy_is_told = room_is_to_be_told(room);
        words[count++] = text_of(room->occupancy_is_told ? "+" : "-");
        words[count++] = (struct text){room->super.name, room->super.name_len};
        asked->rooms[asked->count++] = room;
    }
    count += chronicle_list_words(desk->chronicle, words + count, OCCUPANCY_NEWS, &asked->news);
    desk->occupancy_is_asked = true;
    if (call_prepare(&asked->call, desk->broker, "occupancy", occupancy_slot_name, NULL, words, count,
                     occupancy_answered) == ERROR_NONE) {
        call_submit(&asked->call);
        return;
    }
    desk->occupancy_is_asked = false;
    occupancy_fail(asked);
    for (unsigned i = 0; i < asked->count; i++)
        roster_release(&asked->rooms[i]->super);
    free(asked);
}

static void occupancy_due(struct timer *timer)
{
    struct presence_desk *desk = container_of(timer, struct presence_desk, occupancy_timer);
    if (occupancy_has_more(desk) || channel_options_tell_any(desk->broker->options))
        occupancy_ask(desk);
    else
        occupancy_arm(desk, PRESENCE_RENEW_MS);
}

void occupancy_note(struct redis_room *room)
{
    if (room_is_to_be_told(room) == room->occupancy_is_told)
        return;
    occupancy_line_up(room);
    occupancy_ask(desk_of(room));
}

void occupancy_go_on(struct presence_desk *desk)
{
    if (!desk->occupancy_is_asked)
        occupancy_arm(desk, 0);
}

void occupancy_begin_again(struct presence_desk *desk)
{
    desk->occupancy_is_known = false;
    occupancy_tell_all(desk);
    occupancy_arm(desk, 0);
}

void occupancy_init(struct presence_desk *desk)
{
    list_init(&desk->to_tell);
    timer_init(&desk->occupancy_timer, occupancy_due);
}

void occupancy_deinit(struct presence_desk *desk)
{
    desk->is_ending = true;
    timer_stop(&desk->broker->wheel, &desk->occupancy_timer);
}
