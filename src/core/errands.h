/* SPDX-License-Identifier: MIT */
#pragma once

/* What a client has on its way to the broker while it goes on asking: bounded in number and bytes. Embedded
 * by whoever has the client, and freed not before the turn of the loop in which it was forgotten is over.
 * Everything runs on the shard's thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/hub.h"
#include "core/publish.h"

/* What one client has on its way at most; bytes are those asked with, or of the answer. */
#define ERRANDS_COUNT_MAX 1024u
#define ERRANDS_BYTES_MAX (4u << 20)

struct errands;

struct errands_ops {
    /* More may be asked for: after there was no room, now that half of it is free; or after a publication had
     * to wait, now that every subscription is in place. May ask, and forget. */
    void (*ready)(struct errands *errands);
    /* Nothing is on its way any more. May forget. May be NULL. */
    void (*idle)(struct errands *errands);
    /* Says who asks, as he is known now. NULL: nobody in particular. */
    void (*identify)(const struct errands *errands, struct asker *by);
};

struct errands {
    const struct errands_ops *ops;
    struct hub *hub;
    struct list publications; /* in the order in which they are answered */
    struct list others;
    uint64_t bytes;
    uint32_t count;
    uint32_t joining; /* subscriptions of the client that are not in place yet */
    bool is_refusing; /* for want of room: `ready` is due */
    bool is_waiting;  /* for the subscriptions: the same */
    bool is_held;     /* its owner settles them later */
    bool is_over;     /* forgotten */
};

/* One of them. Embedded in what is freed with its answer. */
struct errand {
    struct errands *errands; /* NULL when they are forgotten */
    struct list link;
    uint64_t bytes;
    /* Nobody is to be answered any more; frees it, now or later. */
    void (*forget)(struct errand *errand);
};

void errands_init(struct errands *errands, struct hub *hub, const struct errands_ops *ops);

/* Whether another one may begin; if not, `ready` follows. */
bool errands_have_room(struct errands *errands);

/* Whether a publication may begin; if not, `ready` follows. It waits for the subscriptions that its client
 * has asked for before it, so that they tell of it; but not for those that have to wait for a broker that is
 * away.
 */
bool errands_may_publish(struct errands *errands);

/* Counts a subscription that the client has asked for in, and out: it is in place, or gone. The latter is to
 * be followed by errands_settle_joined. */
void errands_join(struct errands *errands);
void errands_joined(struct errands *errands);

/* As errands_settle, where nothing but a subscription may have been waited for. May forget. */
void errands_settle_joined(struct errands *errands);

/* Whether nothing is on its way. */
bool errands_are_idle(const struct errands *errands);

/* The client has gone: what is on its way is answered to nobody. Twice does no harm. */
void errands_forget(struct errands *errands);

/* Tells the owner when there is room again, and when nothing is on its way. May forget. */
void errands_settle(struct errands *errands);

/* Counts one in, at the end of `list`, which is one of the errands'. */
void errand_begin(struct errand *errand, struct errands *errands, struct list *list, uint64_t bytes);

/* Counts it out: it is answered. To be followed by errands_settle. */
void errand_end(struct errand *errand);
