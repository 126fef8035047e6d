/* SPDX-License-Identifier: MIT */
#include "command/conversation.h"

#include <errno.h>
#include <string.h>

#include "command/answer.h"
#include "command/commands.h"
#include "command/task.h"

/* Of each byte of a message as JSON may write it: \u0001. */
#define CONVERSATION_ESCAPED_BYTES 6u
/* Beyond that: the names and the cursor of a subscribe. */
#define CONVERSATION_TEXT_MORE (32u << 10)

/* Beginning and end. */

void conversation_init(struct conversation *conversation, struct shard *shard,
                       const struct conversation_ops *ops, enum transport_kind transport)
{
    *conversation = (struct conversation){
        .ops = ops, .shard = shard, .ahead = conversation, .transport = (uint8_t)transport};
    list_init(&conversation->subscriptions);
    list_init(&conversation->publishes);
    list_init(&conversation->tasks);
}

void conversation_deinit(struct conversation *conversation)
{
    struct list tasks;
    list_init(&tasks);
    conversation->is_over = true;
    command_unsubscribe_all(conversation);
    list_splice(&tasks, &conversation->publishes);
    list_splice(&tasks, &conversation->tasks);
    list_drain (link, &tasks) {
        struct command_task *task = container_of(link, struct command_task, link);
        task->conversation = NULL;
        task->forget(task);
    }
    conversation->task_count = 0;
    conversation->bytes = 0;
}

/* What is on its way. */

bool conversation_has_room(struct conversation *conversation)
{
    bool has_room =
        conversation->task_count < CONVERSATION_TASKS_MAX && conversation->bytes < CONVERSATION_BYTES_MAX;
    conversation->is_refusing = conversation->is_refusing || !has_room;
    return has_room;
}

bool conversation_is_idle(const struct conversation *conversation)
{
    return conversation->task_count == 0;
}

void command_task_begin(struct command_task *task, struct conversation *conversation, struct list *list,
                        uint64_t bytes)
{
    task->conversation = conversation;
    task->bytes = bytes;
    list_init(&task->link);
    list_append(list, &task->link);
    conversation->task_count++;
    conversation->bytes += bytes;
}

void command_task_end(struct command_task *task)
{
    list_remove(&task->link);
    task->conversation->task_count--;
    task->conversation->bytes -= task->bytes;
}

void conversation_settle(struct conversation *conversation)
{
    bool is_idle = conversation_is_idle(conversation);
    bool has_room = is_idle || (conversation->task_count < CONVERSATION_TASKS_MAX / 2 &&
                                conversation->bytes < CONVERSATION_BYTES_MAX / 2);
    if (conversation->is_taking)
        return;
    if (has_room && conversation->is_refusing) {
        conversation->is_refusing = false;
        conversation->ops->ready(conversation);
    }
    if (is_idle && conversation->ops->idle && !conversation->is_over)
        conversation->ops->idle(conversation);
}

/* Commands. */

static void command_run_ping(struct conversation *conversation, struct command_request *request)
{
    struct buf json = {0};
    command_answer_begin(&json, "pong", &request->ref);
    buf_append_char(&json, '}');
    command_answer_say(conversation, &request->ref, &json);
}

static void command_run_reserved(struct conversation *conversation, struct command_request *request)
{
    command_answer_error(conversation, &request->ref, ERROR_NOT_SUPPORTED, error_text(ERROR_NOT_SUPPORTED));
}

static void (*const command_runs[COMMAND_OP_COUNT])(struct conversation *conversation,
                                                    struct command_request *request) = {
    [COMMAND_SUBSCRIBE] = command_run_subscribe, [COMMAND_UNSUBSCRIBE] = command_run_unsubscribe,
    [COMMAND_PUBLISH] = command_run_publish,     [COMMAND_HISTORY] = command_run_history,
    [COMMAND_PING] = command_run_ping,           [COMMAND_AUTH] = command_run_reserved,
    [COMMAND_PRESENCE] = command_run_reserved,
};

int conversation_take(struct conversation *conversation, const char *text, size_t len)
{
    struct command_request request;
    if (!conversation_has_room(conversation))
        return -EAGAIN;
    conversation->is_taking = true;
    command_request_parse(&request, text, len);
    if (request.error == ERROR_NONE)
        command_runs[request.op](conversation, &request);
    else
        command_answer_error(conversation, &request.ref, request.error, request.fault);
    command_request_deinit(&request);
    conversation->is_taking = false;
    conversation_settle(conversation);
    return 0;
}

uint64_t conversation_text_max(const struct conversation *conversation)
{
    return CONVERSATION_ESCAPED_BYTES * conversation->shard->options->message_size_bytes +
           CONVERSATION_TEXT_MORE;
}

void conversation_say_error(struct conversation *conversation, enum error_code error, const char *what)
{
    static const struct command_ref none;
    command_answer_error(conversation, &none, error, what);
}
