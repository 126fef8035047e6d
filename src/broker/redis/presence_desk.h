/* SPDX-License-Identifier: MIT */
#pragma once

/* What broker/redis/presence and broker/redis/occupancy share. On the broker's thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timer.h"
#include "broker/redis/resident.h"
#include "core/roster.h"

struct call;
struct chronicle;
struct redis_broker;
struct redis_server;
struct redisReply;

/* A node that is not heard of for so long has nobody any more. */
#define PRESENCE_LEASE_MS 15000u
#define PRESENCE_RENEW_MS 5000u

struct redis_room {
    struct roster_room super;
    struct timer timer;  /* to renew the lease, to tell more, or to try again */
    struct list leaving; /* members that have gone, while a call is made of them */
    uint64_t number;     /* of the lease; 0 when there was none */
    uint64_t before;     /* of the lease that it takes the place of, while that is not told; 0 when none */
    uint16_t slot;
    bool is_asked;       /* a call is on its way */
    bool must_ask;       /* there is something to tell behind it */
    bool had_lease;      /* of the call */
    bool is_known;       /* Redis has the lease, or is being told of it */
    bool is_telling_all; /* everybody who is here is to be told, behind `at` */
    bool is_following;   /* somebody here is told; one hold */
    /* occupancy.c */
    struct list occupancy_link; /* among those to be told; one hold */
    bool occupancy_is_told;     /* as occupied */
    char at[PERSONA_NAME_MAX + 1];
};

struct presence_desk {
    struct roster roster;
    struct redis_broker *broker;
    struct resident resident; /* of no server: it is told when any comes up */
    uint64_t leases;          /* given so far */
    struct chronicle *chronicle;
    /* occupancy.c */
    struct list to_tell;
    struct timer occupancy_timer;
    bool occupancy_is_asked;
    bool occupancy_is_known; /* Redis has this node's lease */
    bool is_ending;
};

struct redis_broker *desk_broker(const struct roster *roster);

/* Until when, by the server's clock, a call that is sent to it now may take out people of nodes whose leases
 * have lapsed; 0 while it may not: then the server may have been away for all nodes, and the others are back
 * in a moment. */
uint64_t desk_sweep_until(const struct redis_server *server);

/* Whether the reply is an array of numbers that begins with so many, of which the last is the server's time,
 * from which its clock is learnt. */
bool desk_is_answer(const struct call *call, const struct redisReply *reply, size_t numbers);
