/* SPDX-License-Identifier: MIT */
#pragma once

/* Which code handles which path. On the shard's thread. */

#include "http/exchange.h"

struct route {
    const char *prefix; /* the whole path, or up to and with its last slash what a name follows */
    bool takes_name;
    unsigned methods; /* of enum http_method; OPTIONS is always answered */
    bool is_batch;    /* the body may be as large as a batch */
    void (*handle)(struct exchange *exchange);
    const char
        *elsewhere; /* what a method that is not taken here may have been meant for, and where that is */
    bool answers_options;  /* it handles OPTIONS itself */
    bool is_for_embedding; /* pages of all sites may use it as an image, a script or a style */
    bool is_for_probes;    /* asked for by address, or any name, and tells nothing */
    bool takes_changes;    /* what is opened here may be used to publish, whatever the method says */
    bool needs_admin;      /* not on other listeners than the admin's, where there is one, but with a token */
    const void *context;   /* of whoever added it */
};

/* Adds a route besides HTTP's own, for a transport that has paths of its own; borrowed for ever. Of those
 * that fit a path the one with the longest prefix is taken. Main thread, before any shard runs. Returns 0,
 * -EEXIST when there is one of this prefix, or -ENOSPC. */
int router_add(const struct route *route);

/* Sets the exchange's route, its largest body and its origin. There is always one: also for what is not
 * found. */
void router_choose(struct exchange *exchange);

/* Answers 404, and what is at a path that may have been meant. */
void router_answer_not_found(struct exchange *exchange);

/* Answers what needs an admin and has none, not even a token. */
void router_answer_hidden(struct exchange *exchange);

/* The rest of the path behind the route's prefix. */
struct text router_name(const struct exchange *exchange);

/* Adds Allow for the path. */
void router_add_allow(const struct exchange *exchange, struct MHD_Response *response);

const char *router_method_name(enum http_method method);
