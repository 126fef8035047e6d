/* SPDX-License-Identifier: MIT */
#pragma once

/* Presence and channel events of the memory broker (docs/PRESENCE.md). Whoever calls holds the broker's lock.
 */

#include "core/broker.h"
#include "core/roster.h"

struct log;
struct memory_presence;
struct options;
struct store;

#define MEMORY_NODE_LEN 8u

struct memory_presence {
    struct roster roster;
    struct store *store;
    struct options *const *options; /* the broker's */
    char node[MEMORY_NODE_LEN + 1]; /* as members are told to be on */
    bool is_frozen; /* nobody is told anything; what has changed then is told afterwards, if there is an
                       afterwards */
};

void memory_presence_init(struct memory_presence *presence, struct store *store,
                          struct options *const *options);
void memory_presence_deinit(struct memory_presence *presence);

/* There are other options. */
void memory_presence_renew(struct memory_presence *presence);

/* Requests, which are answered in the call. */
enum error_code memory_presence_apply(struct memory_presence *presence, struct presence_request *request);
enum error_code memory_presence_list(const struct memory_presence *presence, struct roster_request *request);

/* Something has happened to a channel, in one word. Costs two looks into the index where nobody listens. */
void memory_presence_tell(struct memory_presence *presence, struct text channel, const char *event);
