/* SPDX-License-Identifier: MIT */
/* `publish`. */

#include <stdlib.h>

#include "command/answer.h"
#include "command/auth.h"
#include "command/commands.h"
#include "config/channel_options.h"
#include "core/publication.h"

struct command_publish {
    struct publication super;
    struct command_ref ref;
};

static void command_publish_answer(struct publication *super, enum error_code error, const char *what)
{
    const struct command_publish *publish = container_of(super, struct command_publish, super);
    struct conversation *conversation = container_of(super->errand.errands, struct conversation, errands);
    struct buf json = {0};
    if (error != ERROR_NONE) {
        command_answer_error_for(conversation, &publish->ref, error, what, super->item.retry_after_s);
        return;
    }
    command_answer_begin(&json, "published", &publish->ref);
    buf_append_char(&json, ',');
    publish_append_members(&json, &super->item);
    command_answer_say(conversation, &publish->ref, &json);
}

static const struct publication_ops command_publish_ops = {.answer = command_publish_answer};

void command_run_publish(struct conversation *conversation, struct command_request *request)
{
    char fault[AUTH_FAULT_MAX];
    struct command_publish *publish = calloc(1, sizeof(*publish));
    if (!publish) {
        command_answer_error(conversation, &request->ref, ERROR_OUT_OF_MEMORY,
                             error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    publish->ref = request->ref;
    const struct text channel = request->wish.channel;
    enum error_code error = ERROR_NONE;
    if (channel_name_is_valid(channel.bytes, channel.len))
        error = conversation_check(conversation, ACCESS_PUBLISH, channel, fault);
    if (error != ERROR_NONE)
        publication_refuse(&publish->super, &command_publish_ops, &conversation->errands, error, fault);
    else
        publication_begin(&publish->super, &command_publish_ops, &conversation->errands, &request->wish,
                          channel_message_size(conversation->shard->options, channel));
}
