/* SPDX-License-Identifier: MIT */
#pragma once

/* An outlet: the writing side of a connection that takes bytes, whatever is spoken on it. Embedded by whoever
 * has the connection. Everything runs on the shard's thread.
 *
 * What is delivered to a subscriber goes from the ring to the socket in one write, many messages at once, and
 * nothing is queued: what the peer does not take the subscriber has not been told. Only the rest of a frame
 * that was taken in part is owed, and what was said besides: a part of one message's rendering, then a text.
 * Nothing else is written before that. A peer that takes nothing of it for slow-client-timeout is cut.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "core/message.h"
#include "core/subscriber.h"
#include "shard/memory_share.h"

struct outlet;
struct shard;

/*   ready ──► blocked ──► relieved ──► ready    (and closed from all)
 *     │          ^────────────┤
 *     `───────────────────────^
 */
enum outlet_state {
    OUTLET_READY,
    OUTLET_BLOCKED,  /* the peer takes nothing now; among the blocked */
    OUTLET_RELIEVED, /* it has taken all that it was owed; among the relieved, to be told so */
    OUTLET_CLOSED,   /* nothing is written any more */
};

struct outlet_ops {
    /* It has become blocked, or is not any more: for who has to ask the kernel to be told. May be NULL; may
     * only close. */
    void (*changed)(struct outlet *outlet);
    /* It takes bytes again after it was blocked, and nothing is owed; at the end of that turn. May write and
     * close. */
    void (*relieved)(struct outlet *outlet);
    /* The connection is broken, or too slow, or memory is out: to be closed, and outlet_close called. */
    void (*broken)(struct outlet *outlet);
};

/* What a delivery touches stands first, in one line of the cache. */
struct outlet {
    struct shard *shard;
    const struct outlet_ops *ops;
    struct list flush_link; /* among those that have something to write at the end of this turn */
    uint64_t progress_ms;   /* when the peer took something last */
    size_t tail_len;
    int fd;
    enum outlet_state state;
    struct message *owed;  /* whose rendering is owed from `tail` on; before `text` */
    struct list wait_link; /* among the blocked or the relieved */
    const char *tail;
    struct buf text; /* what is owed after it */
    size_t text_at;
    struct memory_share share; /* of the text, while the peer does not take it */
};

/* The outlets of a shard. */
struct outlet_table {
    struct shard *shard;
    struct list to_flush;
    struct list blocked;
    struct list relieved;
    struct timer timer; /* looks at the blocked while there are any */
};

void outlet_table_init(struct outlet_table *table, struct shard *shard);

/* Writes what has been appended in this turn, and tells the relieved. */
void outlet_table_run(struct outlet_table *table);

void outlet_init(struct outlet *outlet, const struct outlet_ops *ops, struct shard *shard, int fd);

/* Nothing is written any more. What is owed is kept, to be looked at, until outlet_deinit. */
void outlet_close(struct outlet *outlet);
void outlet_deinit(struct outlet *outlet);

/* How much is owed, in bytes. */
static inline size_t outlet_owed(const struct outlet *outlet)
{
    return outlet->tail_len + outlet->text.len - outlet->text_at;
}

/* The text that is owed, to append to; written at the end of this turn at the latest. */
struct buf *outlet_text(struct outlet *outlet);

/* Writes what is owed now. Returns whether all of it was taken, and the outlet is not closed. */
bool outlet_flush(struct outlet *outlet);

/* Asks to be told, as if it had been blocked, when nothing is owed: at the end of this turn at the earliest.
 */
void outlet_call(struct outlet *outlet);

/* Whether a peer that takes bytes has not got any for so long. */
bool outlet_is_silent(const struct outlet *outlet, uint64_t for_ms);

/* A frame on the wire: the end of the text of the frames, then this. */
struct outlet_frame {
    size_t text_at;
    size_t text_len;
    const char *body; /* part of a rendering of the frame's message */
    size_t body_len;
    const char *end; /* lives for ever */
    size_t end_len;
};

/* How messages look on the wire. */
struct outlet_format {
    /* Makes the frame of what the subscriber, as it stands now, has just been told: appends to the text, sets
     * body and end. Returns 0 or -ENOMEM. Does nothing else. */
    int (*fill)(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                struct outlet_frame *frame);
    /* The same number for all subscribers of one channel to whom a message is the same bytes, all of them its
     * body: many messages are then one run of bytes, made once. 0 where there are none such. */
    unsigned run;
};

enum outlet_progress {
    OUTLET_DONE,    /* everything there is has been told; or is not there yet */
    OUTLET_MORE,    /* others have their turn first; the subscriber will be woken */
    OUTLET_WAITING, /* the peer takes no more: the subscriber is blocked */
    OUTLET_GONE,    /* the outlet is closed */
};

/* Writes what the subscriber has not been told, up to the offset `until`, as much as the peer takes. */
enum outlet_progress outlet_deliver(struct outlet *outlet, struct subscriber *subscriber,
                                    const struct outlet_format *format, uint64_t until);
