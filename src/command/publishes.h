/* SPDX-License-Identifier: MIT */
#pragma once

/* Publishes on behalf of a conversation, in whatever words they were asked for. They are answered in their
 * order, though brokers need not answer those to different channels so. Everything runs on the shard's
 * thread.
 */

#include <stdbool.h>

#include "command/conversation.h"
#include "command/task.h"
#include "core/publish.h"

struct command_publish;
struct command_publish_ops {
    /* The broker has accepted it: command_publish_end is to be called, now or later. NULL: it is now. */
    void (*accepted)(struct command_publish *publish);
    /* To be answered: everything before it has been. */
    void (*answer)(struct command_publish *publish, enum error_code error, const char *what);
    void (*release)(struct command_publish *publish); /* frees it */
};

/* Goes to the broker and back, and outlives its conversation. */
struct command_publish {
    const struct command_publish_ops *ops;
    struct shard *shard;
    struct command_task task;
    struct publish_request request;
    struct publish_item item;
    enum error_code error;
    char *fault; /* of the error, where it has a sentence of its own */
    bool is_done;
};

/* Publishes, owned by this from now on and all zeros but for its ref. It may be answered and released in this
 * call. */
void command_publish_begin(struct command_publish *publish, const struct command_publish_ops *ops,
                           struct conversation *conversation, const struct publish_wish *wish);
void command_publish_end(struct command_publish *publish, enum error_code error);
