/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_SERVER_H
#define SLUICE_BROKER_REDIS_SERVER_H

/* A server's life: found, connected, greeted, probed, lost, and again. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock_offset.h"
#include "base/list.h"
#include "base/timer.h"
#include "broker/redis/link.h"
#include "broker/redis/url.h"

struct redis_broker;
struct server;

#define REDIS_REPLID_LEN 40u
#define REDIS_RUNS_MAX (URL_ADDRESSES_MAX * (REDIS_REPLID_LEN + 1u))

struct resident;

/* What a resident is told. Each may send, subscribe, answer who waits, and move or free its own resident,
 * nobody else's. */
struct resident_ops {
    /* The server is up: the resident lives there, or nowhere. The commands of the link before are dead. What
     * is subscribed to here is confirmed before the server counts as sound, because the probe is subscribed
     * to last; what is read has to wait for the confirmation: subscribe first, then read. */
    void (*up)(struct resident *resident, struct server *server);
    /* The server that it lives on is lost. Both links have ended, together, and every command that was on its
     * way has been told by its `done`. When the server is gone for good, who stays becomes homeless. */
    void (*lost)(struct resident *resident);
    /* Some slots have another server than before. NULL where it does not matter. */
    void (*slots_changed)(struct resident *resident);
    /* The broker ends: answer who waits, unregister. Before the links are closed. */
    void (*ended)(struct resident *resident);
};

/* What lives on a server and has to know what becomes of it. One that lives on none is homeless. */
struct resident {
    struct list link; /* in server.residents, or broker.homeless; alone when it is not registered */
    const struct resident_ops *ops;
    struct redis_broker *broker;
    struct server *server; /* that it lives on; NULL when homeless */
};

/* Registers as homeless. */
void resident_init(struct resident *resident, const struct resident_ops *ops, struct redis_broker *broker);

/* Moves to the server; NULL: becomes homeless. */
void resident_move(struct resident *resident, struct server *server);

/* Unregisters; also one that is not registered. */
void resident_deinit(struct resident *resident);

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

struct server {
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
    uint64_t probe_sent_ms; /* 0 when no probe is under way */
    bool is_saying_probe;   /* it is still on its way to Redis */
    char probe[64];         /* the probe's own Pub/Sub channel */
    char told[LINK_FAULT_MAX];
    char replid[REDIS_REPLID_LEN + 1];
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
    bool feed_is_ready;
    long long client_id;      /* of the command link */
    long long last_client_id; /* of the one before, which may still have commands to be executed */
    unsigned replies_due;     /* of the hello on the feed link */
    struct list residents;    /* in the order in which they came */
    struct clock_offset clock;
};

/* A server that begins to connect at once; NULL when memory is out. */
struct server *server_new(struct redis_broker *broker, const char *address, bool is_unix);

/* Closes and frees. Not from within a callback of its links. */
void server_free(struct server *server);

/* Ends all residents of all servers, and the homeless, then frees the servers. */
void servers_close(struct redis_broker *broker);

/* Some slots have other servers than before: tells all residents; or those of one server that has said so. */
void servers_slots_changed(struct redis_broker *broker);
void server_slots_changed(struct server *server);

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
