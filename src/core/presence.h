/* SPDX-License-Identifier: MIT */
#pragma once

/* That somebody is there: one subscription to a channel whose subscribers are made known (hub_is_followed),
 * as the broker is told of it. Everything runs on the shard's thread.
 */

#include <stdint.h>

#include "core/broker.h"
#include "core/hub.h"
#include "core/persona.h"

struct presence;

/* Joins; a reference to the persona is taken, NULL is somebody who has not said who he is. Returns NULL when
 * memory is out: then the subscription is not counted. */
struct presence *presence_begin(struct hub *hub, struct text channel, struct persona *persona,
                                enum transport_kind transport);

/* He is somebody else from now on, or says something else of himself. */
void presence_change(struct presence *presence, struct persona *persona);

/* Leaves; NULL is allowed. Frees it, now or with the broker's answer. */
void presence_end(struct presence *presence);

/* Appends a member as it is listed and told: an object. `info` may be empty. */
struct presence_member {
    struct text name;
    struct text info;
    int64_t since_ms;
    struct text node;
    struct text transport;
};
void presence_append_member(struct buf *to, const struct presence_member *member);

/* The same of one who has gone. */
void presence_append_name(struct buf *to, struct text name);

/* Appends the answer of a list, as members of an object. */
void presence_append_list(struct buf *to, const struct roster_request *request);

/* The word of a transport. */
struct text presence_transport(enum transport_kind transport);

/* Messages of what has changed are paced, so that a reader gets at most 20 a second, and have at most so many
 * bytes of members, or one. */
#define PRESENCE_PACE_MS 50u
#define PRESENCE_EVENT_BYTES (128u << 10)

/* Members of one answer; unless it is asked for another number. */
#define PRESENCE_LIMIT_MAX 1000u
#define PRESENCE_LIMIT_PRESET 100u
#define PRESENCE_LIST_BYTES (256u << 10) /* then it ends with the one that goes beyond */

/* Of one channel on one node; who comes besides is counted without a name. */
#define PRESENCE_MEMBERS_MAX 100000u
