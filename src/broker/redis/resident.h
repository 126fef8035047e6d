/* SPDX-License-Identifier: MIT */
#pragma once

/* What lives on a server and has to know what becomes of it: topics, watches, the bridge, publishes in doubt.
 */

#include "base/list.h"

struct redis_broker;
struct redis_server;
struct resident;

/* What a resident is told. Each may send, subscribe, answer who waits, and move or free its own resident,
 * nobody else's. */
struct resident_ops {
    /* The server is up: the resident lives there, or nowhere. The commands of the link before are dead. NULL
     * for one that lives where its slot is. */
    void (*up)(struct resident *resident, struct redis_server *server);
    /* The server that it lives on is lost. Both links have ended, together, and every command that was on its
     * way has been told by its `done`. When the server is gone for good, who stays becomes homeless. */
    void (*lost)(struct resident *resident);
    /* Some slots have another server than before, or one that can be asked again. What is subscribed to here
     * is confirmed before the server counts as sound, because the probe is subscribed to last; what is read
     * has to wait for the confirmation: subscribe first, then read. NULL where slots do not matter. */
    void (*slots_changed)(struct resident *resident);
    /* The broker ends: answer who waits, unregister. Before the links are closed. */
    void (*ended)(struct resident *resident);
};

struct resident {
    struct list link; /* in server.residents, or broker.homeless; alone when it is not registered */
    const struct resident_ops *ops;
    struct redis_broker *broker;
    struct redis_server *server; /* that it lives on; NULL when homeless */
};

/* Registers as homeless. */
void resident_init(struct resident *resident, const struct resident_ops *ops, struct redis_broker *broker);

/* Moves to the server; NULL: becomes homeless. */
void resident_move(struct resident *resident, struct redis_server *server);

/* Unregisters; also one that is not registered. */
void resident_deinit(struct resident *resident);

/* To all of a list; each may leave it. */
void residents_up(struct list *residents, struct redis_server *server);
void residents_lost(struct list *residents);
void residents_slots_changed(struct list *residents);
void residents_end(struct list *residents);
