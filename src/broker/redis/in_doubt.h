/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_IN_DOUBT_H
#define SLUICE_BROKER_REDIS_IN_DOUBT_H

/* Publishes whose answer was lost with the link: which of them are in the log? */

struct server;

/* The server is up: what became of the publishes whose answers were lost? */
void in_doubt_server_up(struct server *server);

/* Answers those of them that have waited long enough; or, when the server is gone for good, all. */
void in_doubt_expire(struct server *server);
void in_doubt_server_gone(struct server *server);

#endif
