/* SPDX-License-Identifier: MIT */
#pragma once

/* A request that switches protocols (RFC 9110, section 7.8). libmicrohttpd sends the 101 and then lets the
 * connection go: its memory in the cell is freed, and the socket goes on under a descriptor of our own (a
 * duplicate made before the 101, since libmicrohttpd closes its own). On the shard's thread.
 */

#include "base/text.h"
#include "http/exchange.h"
#include "shard/listener.h"

struct upgrade;

struct upgrade_ops {
    /* The 101 is out. The socket and that it is counted against the limits are the callee's from now on
     * (stream_socket_open); `early` are bytes that came behind the head, borrowed for this call. */
    void (*opened)(struct upgrade *upgrade, const struct arrival *arrival, struct text early);
    /* The connection has gone before that, or could not be upgraded. */
    void (*lost)(struct upgrade *upgrade);
};

/* Embedded by whoever goes on with the socket; his until one of the two is called. */
struct upgrade {
    const struct upgrade_ops *ops;
    int fd; /* the duplicate, until it is opened; its own */
};

/* Whether the request has `protocol`, in any case, among those in its Upgrade field. Whether its Connection
 * field says so too, as it must, is client->framing.asks_to_upgrade. */
bool exchange_asks_for(const struct exchange *exchange, const char *protocol);

/* Says to what a request has to be upgraded, in an answer that asks for it (RFC 9110, section 15.5.22; RFC
 * 6455, section 4.4). */
void upgrade_add_headers(struct MHD_Response *response);

/* Answers 101; in the state HANDLING. `headers` is name, value, name, value, NULL, with Upgrade among them.
 * Answers 503 where there is no descriptor or memory left, and then calls lost. */
void exchange_upgrade(struct exchange *exchange, const char *const *headers, struct upgrade *upgrade);
