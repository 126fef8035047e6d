/* SPDX-License-Identifier: MIT */
#pragma once

/* A client that publishes one message after another without waiting for the answers: what of it is on its way
 * to the broker, bounded. Embedded by whoever has the client. Everything runs on the shard's thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/hub.h"
#include "core/publish.h"

/* What one client has on its way at most. */
#define PUBLISHER_COUNT_MAX 1024u
#define PUBLISHER_BYTES_MAX (4u << 20)

struct publisher;

/* An answer. Borrowed for the call. */
struct publisher_answer {
    enum error_code error;           /* ERROR_NONE when accepted */
    const char *fault;               /* a sentence; NULL when it was accepted */
    const struct publish_item *item; /* of one that was accepted */
};

struct publisher_ops {
    /* A publish is answered, in the order of the publishes (but at once where memory is out for it). May
     * submit and forget. */
    void (*answered)(struct publisher *publisher, const struct publisher_answer *answer);
    /* Others may be submitted again: after there was no room, now that half of it is free. May do the same.
     * May be NULL. */
    void (*ready)(struct publisher *publisher);
};

struct publisher {
    const struct publisher_ops *ops;
    struct hub *hub;
    struct list publications; /* in the order of the publishes */
    uint64_t bytes;
    uint32_t count;
    bool is_refusing; /* `ready` is due */
};

void publisher_init(struct publisher *publisher, struct hub *hub, const struct publisher_ops *ops);

/* Whether another one may be submitted; if not, `ready` follows. */
bool publisher_has_room(struct publisher *publisher);

/* Publishes; the wish is borrowed for the call. `answered` follows, in this call or later. */
void publisher_submit(struct publisher *publisher, const struct publish_wish *wish,
                      uint64_t size_limit_bytes);

/* The client has gone: what is on its way is answered to nobody. Twice does no harm. */
void publisher_forget(struct publisher *publisher);
