/* SPDX-License-Identifier: MIT */
#pragma once

/* What endless responses have in common: a subscriber whose messages are written to an open exchange as
 * frames. How a frame looks is the transport's. On the shard's thread.
 */

#include "core/subscriber.h"
#include "http/exchange.h"
#include "http/transport.h"
#include "render/render.h"

struct stream;

/* What a stream opens with. */
struct stream_opening {
    struct text cursor; /* from where on it goes */
    bool is_recovered;  /* it begins right after the cursor that the client named */
    enum completeness completeness;
    uint64_t retry_ms;
    uint64_t padding; /* bytes of something that means nothing, where the format has such a thing */
    const struct exchange *exchange; /* whose answer it is */
};

struct stream_format {
    const struct transport *transport;
    enum transport_kind kind;
    enum message_form form;
    struct rendering *(*render)(const struct message *message, struct text channel,
                                const struct epoch *epoch);
    /* What stands before a message's shared part when the cursor is a joined one. */
    void (*begin_message)(struct buf *to, struct text cursor);
    void (*opening)(struct buf *to, const struct stream_opening *opening);
    void (*reset)(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                  struct text cursor);
    /* The opening may still have to wait for the broker. */
    void (*heartbeat)(struct buf *to, bool is_open);
    /* The last that is told, and why: `json` is the object that an error is. */
    void (*error)(struct buf *to, enum error_code why, struct text json);
};

/* The begin of a transport whose stream has this format. */
void stream_begin(struct exchange *exchange, const struct subscription_wish *wish,
                  const struct stream_format *format);
