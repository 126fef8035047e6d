/* SPDX-License-Identifier: MIT */
#pragma once

/* The way over a WebSocket, by which messages are published as well: the command protocol on /ws. Through a
 * proxy it goes by CONNECT, as browsers do. One thread. */

#include <curl/curl.h>

#include "check_network/request.h"

struct wslay_event_context;

struct websocket_way {
    struct way way;
    struct request request;
    struct wslay_event_context *frames; /* NULL until the handshake is done */
    unsigned published;                 /* how many publishes were answered */
    size_t read_in_turn;
    bool has_more; /* to read, of which the socket need not tell: the last turn has read enough */
};

/* Connects, shakes hands and subscribes, for as long as that takes. Returns 0 or -ENOMEM; what the network
 * does stands in the way. */
int websocket_way_begin(struct websocket_way *websocket, const struct check_order *order, const char *mark);

/* What to wait for; the descriptor is -1 when there is nothing. */
struct curl_waitfd websocket_way_wait(const struct websocket_way *websocket);

/* Reads and writes what is possible now. */
void websocket_way_turn(struct websocket_way *websocket);

/* Publishes a message. Returns whether the connection is there to take it. */
bool websocket_way_publish(struct websocket_way *websocket, unsigned number);

void websocket_way_end(struct websocket_way *websocket);
