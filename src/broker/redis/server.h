/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_SERVER_H
#define SLUICE_BROKER_REDIS_SERVER_H

/* A server's life: found, connected, greeted, probed, lost, and again. */

#include "broker/redis/state.h"

/* A server that begins to connect at once; NULL when memory is out. */
struct server *server_new(struct redis_broker *broker, const char *address, bool is_unix);

/* Closes and frees. Not from within a callback of its links. */
void server_free(struct server *server);

/* The options' times have changed: they count for what is waited for already. */
void server_take_times(struct server *server);

/* Gives the server up for now, for a reason that people can read. It comes back by itself. From anywhere on
 * the broker's thread: its links end with this turn of the loop. */
void server_fail(struct server *server, const char *fault);

/* Looks at an error reply for what concerns the whole server: it is no master any more, a function is gone.
 */
void server_check_reply(struct server *server, const struct redisReply *reply);

/* The hello on the command link is over and this is a master with our functions. */
void server_greeted(struct server *server);

/* The probe's channel is subscribed to; it has come back. */
void server_send_probe(struct server *server);
void server_take_probe(struct server *server);

/* The feed has told something. */
void server_note_feed(struct server *server);

/* The words of AUTH; returns how many, 0 when the URL has no password. */
int server_list_login(const struct server *server, const char *words[3]);

/* The run ids of the masters that are there, the server's own first, separated by spaces; `to` has room for
 * REDIS_RUNS_MAX. Returns the length. */
size_t server_list_runs(const struct server *server, char *to);

/* Whether all that is needed works, for is_ready. */
void server_update_readiness(struct redis_broker *broker);

#endif
