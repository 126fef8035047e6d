/* SPDX-License-Identifier: MIT */
#include "core/roster.h"

#include <Judy.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/container.h"
#include "core/message.h"
#include "core/presence.h"

/* Memory of a member beside what its struct says: its share of the index and of malloc. */
#define ROSTER_MEMBER_BYTES (sizeof(struct roster_member) + 64u)

static struct roster_room *room_of(const struct roster_member *member)
{
    return member->room;
}

static void member_free(struct roster_member *member)
{
    member->room->known--;
    message_memory_remove(ROSTER_MEMBER_BYTES);
    persona_unref(member->persona);
    free(member);
}

/* Rooms. */

static void room_free(struct roster_room *room)
{
    struct roster *roster = room->roster;
    char name[PERSONA_NAME_MAX + 1] = "";
    PPvoid_t slot;
    roster->ops->ended(room);
    while ((slot = JudySLFirst(room->members, (uint8_t *)name, PJE0))) {
        struct roster_member *member = *slot;
        (void)JudySLDel(&room->members, (const uint8_t *)name, PJE0); /* it is there */
        timer_stop(roster->wheel, &member->grace);
        member_free(member);
        name[0] = '\0';
    }
    timer_stop(roster->wheel, &room->vacancy);
    message_memory_remove(roster->room_size);
    (void)JudySLDel(&roster->rooms, (const uint8_t *)room->name, PJE0); /* it is there */
    roster->room_count--;
    free(room);
}

void roster_settle(struct roster_room *room)
{
    if (room->connections == 0 && room->count == 0 && !room->is_occupied && room->holds == 0 &&
        list_is_empty(&room->changed))
        room_free(room);
}

void roster_release(struct roster_room *room)
{
    assert(room->holds > 0);
    room->holds--;
    roster_settle(room);
}

static void room_vacate(struct timer *timer)
{
    struct roster_room *room = container_of(timer, struct roster_room, vacancy);
    if (room->is_occupied) {
        room->is_occupied = false;
        room->roster->ops->vacated(room);
    }
    room->is_known_occupied = false;
    roster_settle(room);
}

struct roster_room *roster_find(const struct roster *roster, struct text name)
{
    char index[CHANNEL_NAME_MAX + 1];
    memcpy(index, name.bytes, name.len);
    index[name.len] = '\0';
    PPvoid_t slot = JudySLGet(roster->rooms, (const uint8_t *)index, PJE0);
    return slot ? *slot : NULL;
}

static void room_resolve(struct roster_room *room)
{
    struct roster *roster = room->roster;
    if (room->generation == roster->generation)
        return;
    roster->ops->resolve(roster, (struct text){room->name, room->name_len}, &room->traits);
    room->generation = roster->generation;
}

static struct roster_room *roster_get(struct roster *roster, struct text name)
{
    struct roster_room *room = roster_find(roster, name);
    if (!room) {
        room = calloc(1, roster->room_size);
        if (!room)
            return NULL;
        memcpy(room->name, name.bytes, name.len);
        PPvoid_t slot = JudySLIns(&roster->rooms, (const uint8_t *)room->name, PJE0);
        if (!slot || slot == PPJERR) {
            free(room);
            return NULL;
        }
        *slot = room;
        room->roster = roster;
        room->name_len = (uint8_t)name.len;
        room->generation = roster->generation - 1;
        list_init(&room->changed);
        timer_init(&room->vacancy, room_vacate);
        roster->room_count++;
        message_memory_add(roster->room_size);
        roster->ops->begun(room);
    }
    room_resolve(room);
    return room;
}

struct roster_room *roster_hold(struct roster *roster, struct text name)
{
    struct roster_room *room = roster_get(roster, name);
    if (room)
        room->holds++;
    return room;
}

struct roster_room *roster_next_room(const struct roster *roster, char name[CHANNEL_NAME_MAX + 1],
                                     bool is_included)
{
    PPvoid_t slot = is_included ? JudySLFirst(roster->rooms, (uint8_t *)name, PJE0)
                                : JudySLNext(roster->rooms, (uint8_t *)name, PJE0);
    return slot ? *slot : NULL;
}

/* Members. */

static void member_changed(struct roster_member *member)
{
    struct roster_room *room = room_of(member);
    if (list_is_empty(&member->link))
        list_append(&room->changed, &member->link);
    room->roster->ops->changed(room);
}

static void member_go(struct roster_member *member)
{
    member->is_gone = true;
    room_of(member)->count--;
    member_changed(member);
}

static void member_grace_over(struct timer *timer)
{
    struct roster_member *member = container_of(timer, struct roster_member, grace);
    struct roster_room *room = room_of(member);
    member_go(member);
    roster_settle(room);
}

struct roster_member *roster_first_changed(const struct roster_room *room)
{
    struct list *link = list_first(&room->changed);
    return link ? container_of(link, struct roster_member, link) : NULL;
}

void roster_told(struct roster_member *member)
{
    list_remove(&member->link);
    member->is_told = !member->is_gone;
    if (!member->is_gone)
        return;
    (void)JudySLDel(&room_of(member)->members, (const uint8_t *)member->persona->bytes,
                    PJE0); /* it is there */
    member_free(member);
}

static struct roster_member *room_next(const struct roster_room *room, char name[PERSONA_NAME_MAX + 1],
                                       bool is_included)
{
    PPvoid_t slot = is_included ? JudySLFirst(room->members, (uint8_t *)name, PJE0)
                                : JudySLNext(room->members, (uint8_t *)name, PJE0);
    return slot ? *slot : NULL;
}

struct roster_member *roster_next_member(const struct roster_room *room, char name[PERSONA_NAME_MAX + 1],
                                         bool is_included)
{
    struct roster_member *member = room_next(room, name, is_included);
    while (member && member->is_gone)
        member = room_next(room, name, false);
    return member;
}

struct roster_member *roster_next_known(const struct roster_room *room, char name[PERSONA_NAME_MAX + 1],
                                        bool is_included)
{
    struct roster_member *member = room_next(room, name, is_included);
    while (member && member->is_gone && !member->is_told)
        member = room_next(room, name, false);
    return member;
}

static struct roster_member *member_new(struct roster_room *room, struct persona *persona)
{
    struct roster_member *member = calloc(1, sizeof(*member));
    PPvoid_t slot = member ? JudySLIns(&room->members, (const uint8_t *)persona->bytes, PJE0) : NULL;
    if (!slot || slot == PPJERR) {
        free(member);
        return NULL;
    }
    *slot = member;
    room->known++;
    message_memory_add(ROSTER_MEMBER_BYTES);
    list_init(&member->link);
    timer_init(&member->grace, member_grace_over);
    member->room = room;
    member->persona = persona_ref(persona);
    member->is_gone = true; /* until he has come */
    return member;
}

/* What is not given stays as it was. Returns whether it says something else now. */
static bool member_learn(struct roster_member *member, struct persona *persona)
{
    const struct text before = persona_info(member->persona);
    const struct text info = persona_info(persona);
    if (info.len == 0 || text_equals(before, info))
        return false;
    persona_unref(member->persona);
    member->persona = persona_ref(persona);
    return true;
}

/* The member of that name has one connection more. NULL when he can only be counted. */
static struct roster_member *room_welcome(struct roster_room *room, struct persona *persona,
                                          uint8_t transport)
{
    if (!persona || persona->name_len == 0 || !room->traits.has_presence)
        return NULL;
    PPvoid_t slot = JudySLGet(room->members, (const uint8_t *)persona->bytes, PJE0);
    struct roster_member *member = slot ? *slot : NULL;
    if (!member && room->known < PRESENCE_MEMBERS_MAX)
        member = member_new(room, persona);
    if (!member)
        return NULL;
    bool is_new = member->is_gone;
    bool has_changed = member_learn(member, persona);
    timer_stop(room->roster->wheel, &member->grace);
    member->connections++;
    member->transport = transport;
    if (is_new) {
        member->is_gone = false;
        member->since_ms = clock_wall_ms();
        room->count++;
    }
    if (is_new || has_changed)
        member_changed(member);
    return member;
}

struct roster_room *roster_expect_room(struct roster *roster, struct text name, bool is_occupied,
                                       uint64_t away_ms)
{
    struct roster_room *room = roster_get(roster, name);
    if (!room)
        return NULL;
    /* One that is empty ends with its first vacancy, as any other. */
    room->is_occupied = is_occupied;
    room->is_known_occupied = is_occupied && room->traits.has_events;
    timer_arm(roster->wheel, &room->vacancy, *roster->now_ms + room->traits.grace_ms + away_ms);
    return room;
}

int roster_expect(struct roster_room *room, struct persona *persona, const struct roster_expected *expected)
{
    PPvoid_t slot = JudySLGet(room->members, (const uint8_t *)persona->bytes, PJE0);
    if (slot || !room->traits.has_presence || room->known >= PRESENCE_MEMBERS_MAX)
        return 0;
    struct roster_member *member = member_new(room, persona);
    if (!member)
        return -ENOMEM;
    member->is_gone = false;
    member->is_told = expected->is_told;
    member->since_ms = expected->since_ms;
    member->transport = expected->transport;
    room->count++;
    timer_arm(room->roster->wheel, &member->grace,
              *room->roster->now_ms + room->traits.grace_ms + expected->away_ms);
    if (!member->is_told)
        member_changed(member);
    return 0;
}

static void member_leave(struct roster_member *member)
{
    struct roster_room *room = room_of(member);
    if (--member->connections > 0)
        return;
    if (room->traits.grace_ms > 0)
        timer_arm(room->roster->wheel, &member->grace, *room->roster->now_ms + room->traits.grace_ms);
    else
        member_go(member);
}

/* Requests. */

static void room_enter(struct roster_room *room, struct presence_request *request)
{
    request->room = room;
    request->member = room_welcome(room, request->persona, request->transport);
    room->anonymous += request->member == NULL;
}

static void room_exit(struct roster_room *room, struct presence_request *request)
{
    if (request->member)
        member_leave(request->member);
    else
        room->anonymous--;
    request->member = NULL;
}

static enum error_code roster_join(struct roster *roster, struct presence_request *request)
{
    struct roster_room *room = roster_get(roster, request->channel);
    if (!room)
        return ERROR_OUT_OF_MEMORY;
    room->connections++;
    timer_stop(roster->wheel, &room->vacancy);
    if (!room->is_occupied || (room->traits.has_events && !room->is_known_occupied)) {
        room->is_occupied = true;
        room->is_known_occupied = room->traits.has_events;
        roster->ops->occupied(room);
    }
    room_enter(room, request);
    return ERROR_NONE;
}

/* In, then out, so that nobody goes who stays. */
static void roster_update(struct presence_request *request)
{
    struct presence_request before = *request;
    room_enter(request->room, request);
    room_exit(request->room, &before);
}

static void roster_leave(struct presence_request *request)
{
    struct roster_room *room = request->room;
    room_exit(room, request);
    request->room = NULL;
    if (--room->connections == 0)
        timer_arm(room->roster->wheel, &room->vacancy, *room->roster->now_ms + room->traits.grace_ms);
    roster_settle(room);
}

enum error_code roster_apply(struct roster *roster, struct presence_request *request)
{
    if (request->step == PRESENCE_JOIN)
        return roster_join(roster, request);
    if (request->step == PRESENCE_UPDATE)
        roster_update(request);
    else
        roster_leave(request);
    return ERROR_NONE;
}

void roster_init(struct roster *roster, const struct roster_ops *ops, struct timer_wheel *wheel,
                 const uint64_t *now_ms, size_t room_size)
{
    *roster = (struct roster){.ops = ops, .wheel = wheel, .now_ms = now_ms, .room_size = room_size};
}

void roster_deinit(struct roster *roster)
{
    char name[CHANNEL_NAME_MAX + 1] = "";
    struct roster_room *room;
    while ((room = roster_next_room(roster, name, true))) {
        room_free(room);
        name[0] = '\0';
    }
}
