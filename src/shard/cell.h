/* SPDX-License-Identifier: MIT */
#pragma once

/* Cells: many small libmicrohttpd daemons, driven from the shard's loop, because resuming one connection
 * walks over all the suspended ones of its daemon (section 4 of the architecture).
 *
 * Never wait on a cell's epoll descriptor: it eats edge events. Everything runs on the shard's thread.
 */

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timer.h"
#include "shard/watch.h"

/* Each resume walks over this many, cold memory mostly: once when an answer goes out, once when the next
 * request comes. A daemon costs 1.5 KB and a descriptor. */
#define CELL_CONNECTIONS 16u
#define CELL_CLASSES 12u

struct client;
struct shard;

/* libmicrohttpd's callbacks, which belong to HTTP. The connection's socket context is its struct client. */
struct cell_handlers {
    MHD_AccessHandlerCallback handle;
    MHD_RequestCompletedCallback completed;
    void *(*begin)(void *shard, const char *target, struct MHD_Connection *connection);
    void (*log)(void *shard, const char *format, va_list arguments);
};

struct cell {
    struct list link; /* in its class, those with room first */
    struct list run_link;
    struct shard *shard;
    struct MHD_Daemon *daemon;
    struct watch watch; /* of the daemon's epoll descriptor */
    bool has_events;    /* there, that the daemon has not looked at */
    unsigned class;
    unsigned count;
    struct list clients;
    struct client *entering; /* while it is being added */
    struct client *leaving;  /* while its socket is taken out */
    struct timer tick;
    uint64_t next_round_ms; /* when its clients are asked again whether they want a heartbeat */
};

struct cell_table {
    struct shard *shard;
    struct list classes[CELL_CLASSES];
    struct list to_run;
    int spare; /* a descriptor that is no use but to keep the socket of a client that leaves its cell */
    uint64_t count;
    uint64_t client_count;
};

/* How often each client is asked whether it wants something said. */
uint64_t cell_round_ms(const struct shard *shard);

/* Returns 0 or -errno. */
int cell_table_init(struct cell_table *table, struct shard *shard);

/* Stops all daemons; no connection is suspended. */
void cell_table_deinit(struct cell_table *table);

/* A cell with room whose connections have at least `pool_bytes`; NULL, and errno, when memory or
 * descriptors are out. */
struct cell *cell_for(struct cell_table *table, size_t pool_bytes);

/* Gives a connection to the cell, and its descriptor to libmicrohttpd. When that cannot take it, both are
 * gone. */
void cell_admit(struct cell *cell, struct client *client);

/* Whether the connections of the cell have that much memory, and not many times as much. */
bool cell_suits(const struct cell *cell, size_t pool_bytes);

/* A connection that was parked gets its next request. */
void cell_readmit(struct client *client);

/* Gives the head of a request to libmicrohttpd, and not a byte more, or the end when it is NULL; the client
 * has been admitted for it. Not within libmicrohttpd's callbacks. */
void cell_feed(struct client *client, const char *head, size_t len);

/* Has libmicrohttpd leave the socket alone until the next request; only within its `completed` callback, and
 * when it keeps the connection. */
void cell_park(struct client *client);

/* Closes a parked connection. Not within libmicrohttpd's callbacks. */
void cell_close(struct client *client);

/* Takes the socket of a parked connection out of its cell, under another descriptor. Returns whether it
 * could; otherwise the client is gone. */
bool cell_leave(struct client *client);

/* The socket of a connection goes on without libmicrohttpd, under another descriptor, and its place among the
 * limits with it: the client is not watched any more, and gone before this turn is over. Within
 * libmicrohttpd's upgrade handler. */
void cell_release(struct client *client, struct MHD_UpgradeResponseHandle *handle);

/* A suspended connection goes on; its cell runs before this turn is over. */
void cell_resume(struct cell *cell, struct MHD_Connection *connection);

/* Runs the cells that have something to do. */
void cell_table_run(struct cell_table *table);

/* Calls `visit` for each client; those in full cells, which are there longer, first. */
void cell_table_visit(struct cell_table *table, void (*visit)(struct client *client));
