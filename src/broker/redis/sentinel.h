/* SPDX-License-Identifier: MIT */
#pragma once

/* Redis Sentinel: who is master is asked before every connection, one Sentinel after the other
 * (https://redis.io/docs/reference/sentinel-clients/). */

struct redis_server;

void sentinel_init(struct redis_server *server);

/* Asks the next Sentinel and then connects the server to the master that it names. */
void sentinel_ask(struct redis_server *server);
