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

void command_answer_error(struct conversation *conversation, const struct command_ref *ref,
                          enum error_code error, const char *what)
{
    command_answer_error_for(conversation, ref, error, what, 0);
}

void command_answer_error_for(struct conversation *conversation, const struct command_ref *ref,
                              enum error_code error, const char *what, uint32_t retry_after_s)
{
    /* Of what is least likely to be refused memory for. */
    static const char last[] = "{\"op\":\"error\",\"code\":\"out-of-memory\",\"message\":\"\"}";
    struct buf json = {0};
    command_answer_begin(&json, "error", ref);
    buf_append_text(&json, ",\"code\":\"");
    buf_append_text(&json, error_name(error));
    buf_append_text(&json, "\",\"message\":");
    render_json_string(&json, what, strlen(what));
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
