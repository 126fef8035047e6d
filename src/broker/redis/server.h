/* SPDX-License-Identifier: MIT */
#pragma once

/* A server's life: found, connected, greeted, probed, lost, and again. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock_offset.h"
#include "base/list.h"
#include "base/timer.h"
#include "broker/redis/in_doubt.h"
#include "broker/redis/link.h"
#include "broker/redis/url.h"

struct redis_broker;
struct redis_server;

#define REDIS_REPLID_LEN 40u

/* A server: one Redis that keeps logs, with a connection for commands and one for subscriptions. Both live
 * and die together, so that "subscribe first, then read" is the one way back from any loss.
 *
 *   down --timer--> asking (the Sentinels who the master is) --answer--> connecting --hello--> up --probe
 * seen--> sound
 *     ^--------------------------- any fault of either link --------------------------------------'
 *
 * GONE, from any: it is about to be freed. Where the order counts: from SERVER_UP on it can be asked.
 */
enum server_state { SERVER_GONE, SERVER_DOWN, SERVER_ASKING, SERVER_CONNECTING, SERVER_UP, SERVER_SOUND };

struct redis_server {
    struct list link; /* in broker.servers */
    struct redis_broker *broker;
    uint64_t id; /* rises with each that is made */
    enum server_state state;
    char *address;
    bool is_unix;
    bool is_leaving;      /* the Cluster does not know it any more */
    struct link commands; /* two links, and one to a Sentinel while it is asked */
    struct link feed;
    struct link sentinel;
    unsigned sentinel_index; /* which one is asked next */
    struct timer timer;      /* to connect again; while up, to see whether the feed is silent */
    uint64_t backoff_ms;
    uint64_t up_ms;         /* since when it can be asked, while it can */
    uint64_t probe_sent_ms; /* 0 when no probe is under way */
    bool is_saying_probe;   /* it is still on its way to Redis */
    char probe[64];         /* the probe's own Pub/Sub channel */
    char told[LINK_FAULT_MAX];
    char run[REDIS_REPLID_LEN + 1];      /* of the process */
    char last_run[REDIS_REPLID_LEN + 1]; /* of the process that last_client_id is of */
    char script[REDIS_REPLID_LEN + 1];   /* SHA-1 of the script, without functions */
    unsigned version;                    /* 70015 is 7.0.15 */
    bool has_sharded;                    /* Redis 7: sharded Pub/Sub */
    bool has_functions;                  /* Redis 7: functions; otherwise scripts */
    bool is_cluster;
    bool has_cause;  /* what broke it was found out here, not by the socket */
    bool was_warned; /* of an eviction policy */
    bool is_greeted;
    long long client_id;      /* of the command link */
    long long last_client_id; /* of the one before, which may still have commands to be executed */
    unsigned replies_due;     /* of the hello on the feed link, which may not be said yet */
    struct list residents;    /* in the order in which they came */
    struct in_doubt in_doubt; /* one of them */
    struct clock_offset clock;
};

/* The one way from a state to another. */
void server_move(struct redis_server *server, enum server_state to);

/* A server that begins to connect at once; NULL when memory is out. */
struct redis_server *server_new(struct redis_broker *broker, const char *address, bool is_unix);

/* Closes and frees. Not from within a callback of its links. */
void server_free(struct redis_server *server);

/* Ends all residents of all servers, and the homeless, then frees the servers. */
void servers_close(struct redis_broker *broker);

/* Some slots have other servers than before: tells all residents. */
void servers_slots_changed(struct redis_broker *broker);

/* The options' times have changed: they count for what is waited for already. */
void server_renew_times(struct redis_server *server);

/* Gives the server up for now, for a reason that people can read. It comes back by itself. From anywhere on
 * the broker's thread: its links end with this turn of the loop. */
void server_fail(struct redis_server *server, const char *fault);

/* Looks at an error reply for what concerns the whole server: it is no master any more, a function is gone.
 */
void server_check_reply(struct redis_server *server, const struct redisReply *reply);

/* The hello on the command link is over and this is a master with our functions. */
void server_greeted(struct redis_server *server);

/* The probe's channel is subscribed to; it has come back. */
void server_send_probe(struct redis_server *server);
void server_note_probe(struct redis_server *server);

/* The feed has told something. */
void server_note_feed(struct redis_server *server);

/* The words of AUTH; returns how many, 0 when the URL has no password. */
int server_list_login(const struct redis_server *server, const char *words[3]);

/* Whether all that is needed works, for is_ready. */
void server_update_readiness(struct redis_broker *broker);
