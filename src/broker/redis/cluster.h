/* SPDX-License-Identifier: MIT */
#pragma once

/* Redis Cluster: which master has which slot (Redis Cluster specification). */

#include <stdbool.h>

struct redis_broker;
struct redis_server;

/* Asks the server for the slot map. */
void cluster_ask_slots(struct redis_server *server);

/* The map is out of date: asked for again in a moment. */
void cluster_refresh_soon(struct redis_broker *broker);

/* The server at host:port as a redirection names it; an empty host is that of `teller`. Made if it is not
 * known; NULL when memory is out or it is no address. */
struct redis_server *cluster_find(struct redis_broker *broker, const struct redis_server *teller,
                                  const char *address);

/* Whether every slot has a master. */
bool cluster_is_whole(const struct redis_broker *broker);

/* Frees servers that the Cluster does not know any more; between turns of the loop. */
void cluster_sweep(struct redis_broker *broker);

void cluster_init(struct redis_broker *broker);
