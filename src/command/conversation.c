/* SPDX-License-Identifier: MIT */
#include "command/conversation.h"

#include <errno.h>
#include <string.h>

#include "command/answer.h"
#include "command/auth.h"
#include "command/commands.h"
#include "config/channel_options.h"
#include "shard/rates.h"

/* Of each byte of a message as JSON may write it: \u0001. */
#define CONVERSATION_ESCAPED_BYTES 6u
/* Beyond that: the names and the cursor of a subscribe. */
#define CONVERSATION_TEXT_MORE (32u << 10)

/* Beginning and end. */

static void conversation_ready(struct errands *errands)
{
    struct conversation *conversation = container_of(errands, struct conversation, errands);
    conversation->ops->ready(conversation);
}

static void conversation_idle(struct errands *errands)
{
    struct conversation *conversation = container_of(errands, struct conversation, errands);
    if (conversation->ops->idle)
        conversation->ops->idle(conversation);
}

struct asker conversation_asker(const struct conversation *conversation)
{
    return rates_asker(conversation->key, conversation->bearer.grant);
}

static void conversation_identify(const struct errands *errands, struct asker *by)
{
    *by = conversation_asker(container_of(errands, const struct conversation, errands));
}

static const struct errands_ops conversation_errands_ops = {
    .ready = conversation_ready, .idle = conversation_idle, .identify = conversation_identify};

void conversation_init(struct conversation *conversation, struct shard *shard,
                       const struct conversation_ops *ops, enum transport_kind transport)
{
    *conversation = (struct conversation){
        .ops = ops, .shard = shard, .ahead = conversation, .transport = (uint8_t)transport};
    list_init(&conversation->subscriptions);
    list_init(&conversation->lost);
    timer_init(&conversation->authenticated, conversation_go_on);
    errands_init(&conversation->errands, &shard->hub, &conversation_errands_ops);
}

void conversation_deinit(struct conversation *conversation)
{
    conversation->errands.is_over = true;
    timer_stop(&conversation->shard->wheel, &conversation->authenticated);
    bearer_end(&conversation->bearer);
    command_unsubscribe_all(conversation);
    errands_forget(&conversation->errands);
    conversation_forget_lost(conversation);
    persona_unref(conversation->said);
    conversation->said = NULL;
}

/* Commands. */

static void command_run_ping(struct conversation *conversation, struct command_request *request)
{
    struct buf json = {0};
    command_answer_begin(&json, "pong", &request->ref);
    buf_append_char(&json, '}');
    command_answer_say(conversation, &request->ref, &json);
}

static void (*const command_runs[COMMAND_OP_COUNT])(struct conversation *conversation,
                                                    struct command_request *request) = {
    [COMMAND_SUBSCRIBE] = command_run_subscribe, [COMMAND_UNSUBSCRIBE] = command_run_unsubscribe,
    [COMMAND_PUBLISH] = command_run_publish,     [COMMAND_HISTORY] = command_run_history,
    [COMMAND_PING] = command_run_ping,           [COMMAND_AUTH] = command_run_auth,
    [COMMAND_PRESENCE] = command_run_presence,
};

static bool conversation_has_to_wait(struct conversation *conversation, enum command_op op)
{
    return (op == COMMAND_PUBLISH && !errands_may_publish(&conversation->errands)) ||
           (op == COMMAND_AUTH && !conversation_may_authenticate(conversation));
}

int conversation_take(struct conversation *conversation, const char *text, size_t len)
{
    struct command_request request;
    if (!errands_have_room(&conversation->errands))
        return -EAGAIN;
    command_request_parse(&request, text, len);
    if (request.error == ERROR_NONE && conversation_has_to_wait(conversation, request.op)) {
        command_request_deinit(&request);
        return -EAGAIN;
    }
    conversation->errands.is_held = true;
    if (request.error == ERROR_NONE)
        command_runs[request.op](conversation, &request);
    else
        command_answer_error(conversation, &request.ref, request.error, request.fault);
    command_request_deinit(&request);
    conversation->errands.is_held = false;
    errands_settle(&conversation->errands);
    return 0;
}

uint64_t conversation_text_max(const struct conversation *conversation)
{
    return CONVERSATION_ESCAPED_BYTES * channel_message_size_most(conversation->shard->options) +
           CONVERSATION_TEXT_MORE;
}

void conversation_say_error(struct conversation *conversation, enum error_code error, const char *what)
{
    static const struct command_ref none;
    command_answer_error(conversation, &none, error, what);
}
