/* SPDX-License-Identifier: MIT */
#pragma once

/* Who is present in channels through this process, for a broker to keep: rooms, one for each channel whose
 * subscribers are made known, and in each its members. One person over several connections is one member, and
 * stays for the channel's presence-grace after the last of them has gone. The same counts for whether the
 * channel is occupied by anybody.
 *
 * Whoever calls holds the broker's lock, or is its thread. Nothing costs more where a room has more members,
 * but what their ordered index takes (JudySL). What they take counts in message_memory_bytes().
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/text.h"
#include "base/timer.h"
#include "core/broker.h"
#include "core/names.h"
#include "core/persona.h"

struct roster;

/* What holds for a channel. */
struct roster_traits {
    bool has_presence; /* who is there is told; otherwise all are counted only */
    bool has_events;
    uint64_t grace_ms;
};

/* A room ends, and is freed, once nobody is in it or is to be told of, and it is not held. */
struct roster_room {
    struct roster *roster;
    struct roster_traits traits;
    uint32_t generation; /* of the traits */
    void *members;       /* JudySL: by name; those that are gone stay until that is told */
    uint64_t known;      /* of those, at most PRESENCE_MEMBERS_MAX */
    uint64_t count;      /* of members that are present */
    uint64_t anonymous;  /* connections of nobody in particular */
    uint64_t connections;
    struct list changed; /* members that have come or gone or say something else, the first of them first */
    struct timer vacancy;
    bool is_occupied;
    bool is_known_occupied; /* `occupied` was called where it has events */
    unsigned holds;         /* the broker's */
    uint8_t name_len;
    char name[CHANNEL_NAME_MAX + 1];
};

struct roster_member {
    struct list link; /* in room.changed; alone otherwise */
    struct roster_room *room;
    struct persona *persona; /* with the newest info */
    struct timer grace;
    int64_t since_ms; /* on the wall clock */
    uint32_t connections;
    uint8_t transport; /* of the newest connection */
    bool is_told;      /* that he is present is known to whoever is told */
    bool is_gone;
};

struct roster_ops {
    void (*resolve)(const struct roster *roster, struct text name, struct roster_traits *traits);
    /* A room is begun, or about to be freed. */
    void (*begun)(struct roster_room *room);
    void (*ended)(struct roster_room *room);
    /* There is somebody more in room.changed. May tell of it (roster_told). */
    void (*changed)(struct roster_room *room);
    /* The first connection of all has come, or the first since the room has events, while it has some;
     * the last one has gone, and the grace is over. */
    void (*occupied)(struct roster_room *room);
    void (*vacated)(struct roster_room *room);
};

struct roster {
    const struct roster_ops *ops;
    struct timer_wheel *wheel;
    const uint64_t *now_ms; /* on clock_monotonic_ms */
    size_t room_size;       /* of what the broker has a room first in */
    void *rooms;            /* JudySL: by name */
    uint64_t room_count;
    uint32_t generation; /* of what `resolve` says */
};

void roster_init(struct roster *roster, const struct roster_ops *ops, struct timer_wheel *wheel,
                 const uint64_t *now_ms, size_t room_size);

/* Frees all rooms; who still is there is forgotten. */
void roster_deinit(struct roster *roster);

/* Does what a subscription's request says. Returns ERROR_NONE or ERROR_OUT_OF_MEMORY. */
enum error_code roster_apply(struct roster *roster, struct presence_request *request);

/* The room of that name; NULL when there is none. */
struct roster_room *roster_find(const struct roster *roster, struct text name);

/* The same, made if need be, and held; NULL when memory is out. */
struct roster_room *roster_hold(struct roster *roster, struct text name);

/* One hold less; the room may be gone then. */
void roster_release(struct roster_room *room);

/* The room may be gone after this: for who has told of changes outside of `changed`. */
void roster_settle(struct roster_room *room);

/* Of another process, whose clients are on their way here: the room of that name, and somebody who was
 * present in it. Both are as if their last connection had just gone, and the grace is longer by `away_ms`.
 * The room is new; NULL when memory is out. roster_expect borrows the persona, and returns 0 or -ENOMEM. */
struct roster_expected {
    int64_t since_ms;
    uint8_t transport;
    bool is_told;
    uint64_t away_ms;
};
struct roster_room *roster_expect_room(struct roster *roster, struct text name, bool is_occupied,
                                       uint64_t away_ms);
int roster_expect(struct roster_room *room, struct persona *persona, const struct roster_expected *expected);

/* The first one whose change is to be told; NULL when there is none. */
struct roster_member *roster_first_changed(const struct roster_room *room);

/* It is told: not in the list any more, and freed if he is gone. */
void roster_told(struct roster_member *member);

/* The first room, or member who is present, whose name is greater than `name`, or with `is_included` the
 * same; its name is written to `name`. NULL when there is none. */
struct roster_room *roster_next_room(const struct roster *roster, char name[CHANNEL_NAME_MAX + 1],
                                     bool is_included);
struct roster_member *roster_next_member(const struct roster_room *room, char name[PERSONA_NAME_MAX + 1],
                                         bool is_included);

/* The same, and those too that are gone and are still told to be there. */
struct roster_member *roster_next_known(const struct roster_room *room, char name[PERSONA_NAME_MAX + 1],
                                        bool is_included);
