/* SPDX-License-Identifier: MIT */
#pragma once

/* A publish among the errands of a client. Publications are answered in their order, though brokers need not
 * answer those to different channels so. Everything runs on the shard's thread.
 */

#include "core/errands.h"
#include "core/publish.h"

struct publication;
struct publication_ops {
    /* The broker has accepted it: publication_end is to be called, now or later. NULL: it is now. */
    void (*accepted)(struct publication *publication);
    /* To be answered: everything before it has been. May begin others, and forget the errands. */
    void (*answer)(struct publication *publication, enum error_code error, const char *what);
};

/* Goes to the broker and back, and outlives its errands. Stands first in what it is freed with. */
struct publication {
    const struct publication_ops *ops;
    struct errand errand; /* in `answer` and `accepted` its errands are there */
    struct publish_request request;
    struct publish_item item;
    enum error_code error;
    char *fault; /* of the error, where it has a sentence of its own */
    bool is_done;
};

/* Publishes, all zeros and freed by this with free(), perhaps in this call, once it is answered. */
void publication_begin(struct publication *publication, const struct publication_ops *ops,
                       struct errands *errands, const struct publish_wish *wish, uint64_t size_limit_bytes);

/* The same, but refuses it: to be answered in its turn. */
void publication_refuse(struct publication *publication, const struct publication_ops *ops,
                        struct errands *errands, enum error_code error, const char *fault);

void publication_end(struct publication *publication, enum error_code error);
