/* SPDX-License-Identifier: MIT */
#pragma once

/* A way to receive over HTTP: each is a file in transport/ and in the table of transports, which the wiring
 * gives to HTTP. On the shard's thread. */

#include "core/subscriber.h"
#include "http/exchange.h"

/* What a client asks for with GET /channels/NAME. Borrowed for the call. */
struct subscription_wish {
    struct text channels[CURSOR_CHANNELS_MAX];
    unsigned count;
    struct start start;
    bool has_cursor; /* some place to start was named */
    enum subscriber_policy policy;
    bool wants_objects; /* each line of a stream of objects shall be one, heartbeats too */
    uint64_t wait_ms;   /* how long a long-poll is held; 0 only looks */
    bool awaits_token;  /* it is not decided who asks: the client is to say it first of all */
    uint64_t padding;   /* bytes of comment before an event stream */
    struct persona
        *persona; /* who asks; one that is to say its token first has said this of itself besides */
};

struct transport {
    const char *words[4]; /* values of ?transport= that name it */
    const char *types[4]; /* media types in Accept that ask for it */
    /* Whether something else in a GET does, before Accept is looked at; NULL for most. */
    bool (*is_asked)(const struct exchange *exchange);
    const char *content_type; /* of its answers to HEAD; NULL for that of a message */
    const char *policy;       /* the Content-Security-Policy of its answers; NULL for none */
    bool is_for_embedding;    /* pages of all sites may show it as an image */
    bool asks_for_token;      /* a client that has said no token may still say it when it is begun */
    /* Writes what has a client come back after `retry_ms`, to one that would give up at a status that says
     * so; NULL for a transport whose clients read the status. */
    void (*come_back)(struct buf *to, uint64_t retry_ms);
    /* Writes the whole answer that calls a function of the client's page, which ?callback= names, with an
     * object of ours: errors too reach a client that reads nothing but scripts by this only. What is there
     * for such clients is only there with the option legacy. NULL for all others. */
    void (*call)(struct buf *to, struct text callback, struct text json);
    /* Takes the exchange, in the state HANDLING: answers it, or holds it, or opens its stream. */
    void (*begin)(struct exchange *exchange, const struct subscription_wish *wish);
};

/* Set once by the wiring, before any shard runs; the first one is the default. Ends with NULL. */
void subscribe_set_transports(const struct transport *const *transports);
