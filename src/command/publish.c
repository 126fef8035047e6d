/* SPDX-License-Identifier: MIT */
/* `publish`. */

#include <stdlib.h>

#include "command/answer.h"
#include "command/commands.h"
#include "command/publishes.h"

static void published_answer(struct command_publish *publish, enum error_code error, const char *what)
{
    struct conversation *conversation = publish->task.conversation;
    struct buf json = {0};
    if (error != ERROR_NONE) {
        command_answer_error(conversation, &publish->task.ref, error, what);
        return;
    }
    command_answer_begin(&json, "published", &publish->task.ref);
    buf_append_char(&json, ',');
    publish_append_members(&json, &publish->item);
    command_answer_say(conversation, &publish->task.ref, &json);
}

static void published_release(struct command_publish *publish)
{
    free(publish);
}

static const struct command_publish_ops published_ops = {.answer = published_answer,
                                                         .release = published_release};

void command_run_publish(struct conversation *conversation, struct command_request *request)
{
    struct command_publish *publish = calloc(1, sizeof(*publish));
    if (!publish) {
        command_answer_error(conversation, &request->ref, ERROR_OUT_OF_MEMORY,
                             error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    publish->task.ref = request->ref;
    command_publish_begin(publish, &published_ops, conversation, &request->wish);
}
