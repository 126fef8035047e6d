/* SPDX-License-Identifier: MIT */
#pragma once

/* A WebSocket (RFC 6455), from the handshake to the end: whoever speaks on one embeds a struct websocket and
 * learns of messages. Everything runs on the shard's thread.
 *
 * Messages for subscribers go out by outlet_deliver(&websocket->socket.outlet, …), with a format whose frames
 * are shared renderings. Pings are answered here, and a peer that is silent is pinged (websocket-ping). While
 * the peer takes nothing nothing is read, so what is said to it cannot pile up.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/websocket_frame.h"
#include "http/upgrade.h"
#include "shard/stream.h"
#include "tables/closes.h"
#include "websocket/input.h"

struct websocket;

struct websocket_ops {
    /* The handshake is done. May send, join and close. */
    void (*opened)(struct websocket *websocket);
    /* A whole message, borrowed for this call; text is UTF-8. Returns whether it is done with; otherwise
     * nothing more is read, and the same message comes again after websocket_resume. May send and close. */
    bool (*message)(struct websocket *websocket, bool is_text, const char *bytes, size_t len);
    /* The peer takes bytes again and nothing is owed: unblock subscribers. May be NULL. */
    void (*relieved)(struct websocket *websocket);
    /* The server stops: say the last, then websocket_close(CLOSE_RESTART), now or soon. NULL: closed at once.
     */
    void (*drain)(struct websocket *websocket);
    /* It is over, for whatever reason, also when there never was a 101: leave the channels and free it after
     * this turn, by shard_reap with websocket->socket.garbage; websocket_deinit then. Once, the last call. */
    void (*gone)(struct websocket *websocket);
};

/* What whoever speaks on WebSockets of one kind has in common. Lives for ever. */
struct websocket_service {
    const struct websocket_ops *ops;
    /* Subprotocols, ended by NULL; the first of the client's list that is here is taken. NULL: none is. */
    const char *const *subprotocols;
    /* The largest message, in bytes; asked when a message comes. NULL: message-size. */
    uint64_t (*message_limit)(const struct websocket *websocket);
};

struct websocket {
    struct stream_socket socket;
    struct upgrade upgrade;
    const struct websocket_service *service;
    const char *subprotocol; /* of the service's; NULL when none was agreed on */
    struct input input;
    struct input_event waiting; /* a message that is to come again */
    uint8_t pings;              /* sent since anything came */
    bool is_closing;            /* our close frame is written, or the connection is given up */
    bool is_paused;             /* by a message that is not done with */
};

static inline struct shard *websocket_shard(const struct websocket *websocket)
{
    return websocket->socket.outlet.shard;
}

/* Whether the request asks for a WebSocket at all (the token in its Upgrade field). */
bool websocket_is_asked(const struct exchange *exchange);

/* Takes the exchange, in the state HANDLING: checks the handshake (RFC 6455, section 4.2.1), and answers 400,
 * 426 or, to a page of a foreign origin, 403; otherwise 101. The websocket is all zeros but for what its
 * embedder has of his own; `opened` or `gone` follows, possibly within this call. */
void websocket_begin(struct websocket *websocket, struct exchange *exchange,
                     const struct websocket_service *service);

/* Sends a message: appends it, as one frame, to what is owed. Not after websocket_close. */
void websocket_send(struct websocket *websocket, bool is_text, const char *bytes, size_t len);

/* Sends a close frame, unless there was one; NULL or the reason in the words of its row. What is owed is
 * written before it; what comes is dropped. `gone` follows, not within this call. */
void websocket_close(struct websocket *websocket, enum close_reason reason, const char *what);

/* Whether nothing can be sent any more. */
static inline bool websocket_is_closing(const struct websocket *websocket)
{
    return websocket->is_closing;
}

/* The message that was not done with comes again, in this call; then what came behind it. Within `message` it
 * does so when that has returned. */
void websocket_resume(struct websocket *websocket);

/* Frees what it holds; when it is freed. */
void websocket_deinit(struct websocket *websocket);
