/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_LOST_H
#define SLUICE_BROKER_REDIS_LOST_H

/* Publishes whose answer was lost with the link: which of them are in the log? */

struct server;

/* The server is up: what became of the publishes whose answers were lost? */
void publish_server_up(struct server *server);

/* Answers those of them that have waited long enough; or, when the server is gone for good, all. */
void publish_expire_lost(struct server *server);
void publish_server_gone(struct server *server);

#endif
