/* SPDX-License-Identifier: MIT */
#pragma once

/* Calls of the functions in sluice.lua, wherever the channel's slot is. MOVED, ASK and TRYAGAIN are followed
 * here, with a bound.
 */

#include "base/text.h"
#include "base/timer.h"
#include "broker/redis/link.h"
#include "config/channel_options.h"
#include "core/broker.h"

struct redis_broker;
struct redis_server;

#define CALL_ARGUMENTS_MAX 512u

/* A call of a function of sluice.lua, or a plain command, that goes to where its slot is. */
struct call {
    struct link_command command;
    struct redis_broker *broker;
    struct redis_server *server; /* that it was sent to */
    uint16_t slot;
    uint8_t key_count; /* keys that the command declares */
    uint8_t redirects;
    uint8_t retries;
    struct timer timer; /* while Redis wants to be tried again */
    bool is_reloaded;   /* the functions were gone, and have been loaded for this call */
    bool is_anywhere;   /* not bound to the slot's server: answers about one server */
    /* Once: `reply` is NULL when the link broke or there was nobody to send it to. Frees the call. */
    void (*done)(struct call *call, const struct redisReply *reply);
};

/* The slot of a channel: CRC-16 of its first segment (Redis Cluster specification, "Key distribution model").
 */
uint16_t call_slot(const char *channel, size_t len);

/* What a call touches besides the log of its channel. */
struct call_touched {
    struct text key;                   /* an idempotency key; empty for none */
    const struct channel_trees *trees; /* whose logs above the channel; NULL for none */
};

/* Formats a call of `function` for the channel; `touched` may be NULL. Borrows all of it. Returns why it
 * cannot be, ERROR_BROKER_DOWN when the slot's server is away; then `done` is not called. */
enum error_code call_prepare(struct call *call, struct redis_broker *broker, const char *function,
                             struct text channel, const struct call_touched *touched,
                             const struct text *arguments, unsigned count,
                             void (*done)(struct call *call, const struct redisReply *reply));

/* Formats a plain command for one server. Returns 0 or -ENOMEM. */
int call_prepare_command(struct call *call, struct redis_server *server, int argc, const char *const *argv,
                         const size_t *lengths,
                         void (*done)(struct call *call, const struct redisReply *reply));

/* Sends a prepared call, also again: to where its slot is now. `done` is called once, possibly at once. */
void call_submit(struct call *call);

/* After `done`. */
void call_deinit(struct call *call);

/* The server that has the slot and can be asked now; NULL when there is none. */
struct redis_server *call_find_server(const struct redis_broker *broker, uint16_t slot);

/* What a reply that is not the answer means to whoever asked: an error, one of no known form, or none at all
 * (NULL). Tells the operator of what he has to mend. */
enum error_code call_error(const struct call *call, const struct redisReply *reply);

/* A decimal number as an argument; `to` has room for 21 bytes. */
struct text call_number(char *to, uint64_t number);
