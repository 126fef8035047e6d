/* SPDX-License-Identifier: MIT */
#include "command/answer.h"

#include <string.h>

#include "command/conversation.h"
#include "render/render.h"

void command_answer_begin(struct buf *to, const char *op, const struct command_ref *ref)
{
    buf_append_text(to, "{\"op\":\"");
    buf_append_text(to, op);
    buf_append_char(to, '"');
    if (ref->len == 0)
        return;
    buf_append_text(to, ",\"ref\":");
    buf_append(to, ref->bytes, ref->len);
}

void command_answer_say(struct conversation *conversation, const struct command_ref *ref, struct buf *json)
{
    bool has_failed = json->has_failed;
    if (!has_failed)
        conversation->ops->say(conversation, json->bytes, json->len);
    buf_deinit(json);
    *json = (struct buf){0};
    if (has_failed)
        command_answer_error(conversation, ref, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
}

/* What an error says besides. */
struct command_fault {
    enum error_code error;
    const char *what;
    struct text channel; /* of a subscription that is lost */
    uint32_t retry_after_s;
};

static void command_answer_fault(struct conversation *conversation, const struct command_ref *ref,
                                 const struct command_fault *fault)
{
    /* Of what is least likely to be refused memory for. */
    static const char last[] = "{\"op\":\"error\",\"code\":\"out-of-memory\",\"message\":\"\"}";
    struct buf json = {0};
    command_answer_begin(&json, "error", ref);
    if (fault->channel.len > 0) {
        buf_append_text(&json, ",\"channel\":");
        render_json_string(&json, fault->channel.bytes, fault->channel.len);
    }
    buf_append_text(&json, ",\"code\":\"");
    buf_append_text(&json, error_name(fault->error));
    buf_append_text(&json, "\",\"message\":");
    render_json_string(&json, fault->what, strlen(fault->what));
    const uint32_t retry_after_s = error_retry_after_s(fault->error, fault->retry_after_s);
    if (retry_after_s > 0) {
        buf_append_text(&json, ",\"retry_after\":");
        buf_append_u64(&json, retry_after_s);
    }
    buf_append_char(&json, '}');
    shard_count(conversation->shard, METRIC_ERRORS, 1);
    if (json.has_failed)
        conversation->ops->say(conversation, last, strlen(last));
    else
        conversation->ops->say(conversation, json.bytes, json.len);
    buf_deinit(&json);
}

void command_answer_error_for(struct conversation *conversation, const struct command_ref *ref,
                              enum error_code error, const char *what, uint32_t retry_after_s)
{
    const struct command_fault fault = {.error = error, .what = what, .retry_after_s = retry_after_s};
    command_answer_fault(conversation, ref, &fault);
}

void command_answer_error(struct conversation *conversation, const struct command_ref *ref,
                          enum error_code error, const char *what)
{
    command_answer_error_for(conversation, ref, error, what, 0);
}

void conversation_say_lost(struct conversation *conversation, struct text channel, enum error_code error,
                           const char *what)
{
    static const struct command_ref none;
    const struct command_fault fault = {.error = error, .what = what, .channel = channel};
    command_answer_fault(conversation, &none, &fault);
}

void conversation_append_reset(struct buf *to, const struct delivery *delivery)
{
    char cursor[CURSOR_TEXT_MAX];
    const struct subscription *subscription = delivery->subscription;
    size_t len = subscriber_cursor(subscription->subscriber, cursor);
    buf_append_text(to, "{\"op\":\"reset\",");
    render_reset_members(to, subscription_channel(subscription), delivery->reset, delivery->missed,
                         (struct text){cursor, len});
    buf_append_char(to, '}');
}
