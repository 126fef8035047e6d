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
    /* The peer takes bytes again and nothing is owed: unblock subscribers. May send and close; may be NULL.
     */
    void (*relieved)(struct websocket *websocket);
    /* The server stops, or stream-life is over: say the last, then websocket_close(…, CLOSE_RESTART, NULL),
     * now or soon. NULL: at once. */
    void (*drain)(struct websocket *websocket);
    /* A close frame has been written, or the peer has ended without one, or there never was a 101: nothing
     * may be sent or delivered from now on, so leave the channels. Once. */
    void (*closing)(struct websocket *websocket);
    /* It is over, and nothing of this turn knows of it any more: free it. The last call. */
    void (*release)(struct websocket *websocket);
};

/* What WebSockets of one kind have in common. Lives for ever. */
struct websocket_service {
    const struct websocket_ops *ops;
    /* Ends with NULL; the first of the client's list that is here is agreed on. NULL: none is. */
    const char *const *subprotocols;
    /* The largest message, in bytes; asked when bytes come. */
    uint64_t (*message_limit)(const struct websocket *websocket);
    bool is_session; /* what hangs on it ends with it, so that no new one takes its place: stream-life is not
                        for it */
};

struct websocket {
    struct stream_socket socket;
    const struct websocket_service *service;
    const char *subprotocol; /* one of the service's; NULL when none was agreed on */
    struct upgrade upgrade;
    struct input input;
    struct memory_share share; /* of its message */
    uint64_t partial_ms; /* since when a frame or a message is there that is not whole; 0: there is none */
    uint64_t end_ms;     /* when it is to end by itself */
    uint8_t pings;       /* sent since anything came */
    bool is_aged;        /* that time has come */
    bool is_closing;     /* nothing may be sent any more */
    bool is_paused;      /* by a message that is not done with */
    bool is_resuming;    /* websocket_resume was called within `message` */
    bool is_taking;      /* messages are being handed over */
};

static inline struct shard *websocket_shard(const struct websocket *websocket)
{
    return websocket->socket.outlet.shard;
}

/* Whether nothing may be sent any more. */
static inline bool websocket_is_closing(const struct websocket *websocket)
{
    return websocket->is_closing;
}

/* Whether the request asks for a WebSocket at all: the token in its Upgrade field, or a key, which is all
 * that a proxy leaves that drops what is of one hop. */
bool websocket_is_asked(const struct exchange *exchange);

/* Takes the exchange, in the state HANDLING: checks the handshake (RFC 6455, section 4.2.1), and answers 400,
 * 426, to a page of a foreign origin 403, or 101. The websocket is all zeros but for what its embedder has of
 * his own; `opened` or `closing` follows, `closing` also within this call. */
void websocket_begin(struct websocket *websocket, struct exchange *exchange,
                     const struct websocket_service *service);

/* Sends a message: appends it, as one frame, to what is owed. Nothing once it is closing. */
void websocket_send(struct websocket *websocket, bool is_text, const char *bytes, size_t len);

/* Sends a close frame behind what is owed, unless it is closing already; with `what` as its reason, or that
 * of the row when it is NULL. What comes is dropped. `closing` is called within this call, `release` later.
 */
void websocket_close(struct websocket *websocket, enum close_reason reason, const char *what);

/* The message that was not done with comes again, within this call, and then what came behind it. Within
 * `message` that happens when it has returned. */
void websocket_resume(struct websocket *websocket);
