/* SPDX-License-Identifier: MIT */
#include "command/publishes.h"

#include <stdlib.h>
#include <string.h>

static struct command_publish *publish_of(struct list *link)
{
    return container_of(link, struct command_publish, task.link);
}

static void command_publish_free(struct command_publish *publish)
{
    free(publish->item.channel);
    message_unref(publish->item.message);
    free(publish->fault);
    publish->ops->release(publish);
}

static void command_publish_forget(struct command_task *task)
{
    struct command_publish *publish = container_of(task, struct command_publish, task);
    if (publish->is_done)
        command_publish_free(publish);
}

static void command_publishes_answer(struct conversation *conversation)
{
    struct list *link;
    while ((link = list_first(&conversation->publishes)) && publish_of(link)->is_done) {
        struct command_publish *publish = publish_of(link);
        const char *what = publish->fault ? publish->fault : "";
        if (publish->error != ERROR_NONE && !publish->fault)
            what = error_text(publish->error);
        publish->ops->answer(publish, publish->error, what);
        command_task_end(&publish->task);
        command_publish_free(publish);
    }
    conversation_settle(conversation);
}

void command_publish_end(struct command_publish *publish, enum error_code error)
{
    publish->is_done = true;
    publish->error = error;
    if (publish->task.conversation)
        command_publishes_answer(publish->task.conversation);
    else
        command_publish_free(publish);
}

static void command_publish_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct command_publish *publish = container_of(request, struct command_publish, request);
    enum error_code error = super->error != ERROR_NONE ? super->error : publish->item.error;
    if (error == ERROR_NONE && publish->ops->accepted && publish->task.conversation)
        publish->ops->accepted(publish);
    else
        command_publish_end(publish, error);
}

void command_publish_begin(struct command_publish *publish, const struct command_publish_ops *ops,
                           struct conversation *conversation, const struct publish_wish *wish)
{
    char fault[PUBLISH_FAULT_MAX];
    struct shard *shard = conversation->shard;
    publish->ops = ops;
    publish->shard = shard;
    publish->task.forget = command_publish_forget;
    publish->request.count = 1;
    publish->request.items = &publish->item;
    command_task_begin(&publish->task, conversation, &conversation->publishes, wish->parts.size);
    enum error_code error =
        publish_item_fill(&publish->item, wish, shard->options->message_size_bytes, fault);
    if (error != ERROR_NONE) {
        publish->fault = strdup(fault);
        command_publish_end(publish, error);
    } else if (hub_submit(&shard->hub, &publish->request.super, BROKER_PUBLISH, command_publish_answered)) {
        command_publish_answered(&publish->request.super);
    }
}
