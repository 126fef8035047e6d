/* SPDX-License-Identifier: MIT */
#pragma once

/* Which channels somebody of this node is subscribed to, as Redis is told of it where they have events: the
 * first node of all and the last one make it tell `occupied` and `vacated`. One lease for the node, renewed
 * with one call, which also looks at the logs that may have ended, and tells `forgotten`; the call comes
 * sooner when one is due to end. On the broker's thread.
 */

#include "broker/redis/presence_desk.h"

void occupancy_init(struct presence_desk *desk);
void occupancy_deinit(struct presence_desk *desk);

/* The room is occupied, or not any more. */
void occupancy_note(struct redis_room *room);

/* There is news of logs (chronicle.h). */
void occupancy_go_on(struct presence_desk *desk);

/* A server is up: it may know nothing. */
void occupancy_begin_again(struct presence_desk *desk);
