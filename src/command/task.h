/* SPDX-License-Identifier: MIT */
#pragma once

/* What a conversation has on its way: a command that will be answered. Embedded there; for the files of
 * command/ and for who publishes by other commands. Everything runs on the shard's thread. */

#include <stdint.h>

#include "base/list.h"
#include "command/request.h"

struct conversation;

struct command_task {
    struct conversation *conversation; /* NULL when it has gone */
    struct list link;
    uint64_t bytes;
    struct command_ref ref;
    /* The conversation has gone, and nobody is to be answered; frees it, now or later. */
    void (*forget)(struct command_task *task);
};

/* Counts it in; `list` is one of the conversation's. */
void command_task_begin(struct command_task *task, struct conversation *conversation, struct list *list,
                        uint64_t bytes);

/* Counts it out: it is answered. To be followed by conversation_settle, when it is freed. */
void command_task_end(struct command_task *task);

/* Tells the carrier when there is room again, and when nothing is on its way. May deinitialise. */
void conversation_settle(struct conversation *conversation);
