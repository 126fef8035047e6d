/* SPDX-License-Identifier: MIT */
/* `history`: a part of a channel's log in one answer. */

#include <stdlib.h>

#include "command/answer.h"
#include "command/auth.h"
#include "command/commands.h"
#include "command/gather.h"
#include "render/render.h"

/* Bytes of messages in one answer, or one message that is larger. */
#define HISTORY_BYTES_MAX (1u << 20)

struct command_history {
    struct errand errand;
    struct command_ref ref;
    struct gather gather;
    struct buf json;
    struct buf reset;
    uint64_t limit;
    uint64_t count;
    size_t begin; /* of the messages */
    bool has_more;
};

static struct command_history *history_of(struct gather *gather)
{
    return container_of(gather, struct command_history, gather);
}

static struct conversation *history_conversation(const struct command_history *history)
{
    return container_of(history->errand.errands, struct conversation, errands);
}

static void history_free(struct garbage *garbage)
{
    struct command_history *history = container_of(garbage, struct command_history, gather.garbage);
    buf_deinit(&history->json);
    buf_deinit(&history->reset);
    free(history);
}

static void history_forget(struct errand *errand)
{
    gather_drop(&container_of(errand, struct command_history, errand)->gather, history_free);
}

/* Only the first thing of an answer may be a reset: a later one is told by the next answer. */
static bool history_add_reset(struct command_history *history, struct delivery *delivery)
{
    char cursor[POSITION_TEXT_MAX];
    if (history->count > 0 || history->reset.len > 0)
        return false;
    subscriber_advance(delivery);
    size_t len = subscriber_cursor(&history->gather.subscriber, cursor);
    render_reset(&history->reset, subscription_channel(delivery->subscription), delivery->reset,
                 delivery->missed, (struct text){cursor, len});
    return true;
}

static bool history_add_message(struct command_history *history, struct delivery *delivery)
{
    struct buf *json = &history->json;
    size_t before = json->len;
    if (history->count == history->limit)
        return false;
    buf_append_text(json, history->count > 0 ? ",{" : "{");
    render_json_members(json, delivery->message, subscription_channel(delivery->subscription),
                        subscription_epoch(delivery->subscription));
    buf_append_char(json, '}');
    if (history->count > 0 && json->len - history->begin > HISTORY_BYTES_MAX) {
        json->len = before;
        return false;
    }
    history->count++;
    subscriber_advance(delivery);
    return !json->has_failed;
}

static bool history_add(struct gather *gather, struct delivery *delivery)
{
    struct command_history *history = history_of(gather);
    bool is_taken =
        delivery->message ? history_add_message(history, delivery) : history_add_reset(history, delivery);
    history->has_more = !is_taken;
    return is_taken;
}

static void history_answer(struct command_history *history)
{
    char cursor[POSITION_TEXT_MAX];
    struct buf *json = &history->json;
    buf_append_text(json, "],\"cursor\":\"");
    buf_append(json, cursor, subscriber_cursor(&history->gather.subscriber, cursor));
    buf_append_char(json, '"');
    if (history->reset.len > 0) {
        buf_append_text(json, ",\"reset\":");
        buf_append(json, history->reset.bytes, history->reset.len);
    }
    buf_append_text(json, history->has_more ? ",\"more\":true}" : "}");
    json->has_failed = json->has_failed || history->reset.has_failed;
    command_answer_say(history_conversation(history), &history->ref, json);
}

static void history_end(struct gather *gather, enum error_code error)
{
    struct command_history *history = history_of(gather);
    struct conversation *conversation = history_conversation(history);
    if (error == ERROR_NONE)
        history_answer(history);
    else
        command_answer_error(conversation, &history->ref, error, error_text(error));
    errand_end(&history->errand);
    gather_drop(gather, history_free);
    errands_settle(&conversation->errands);
}

static const struct gather_ops history_ops = {.add = history_add, .end = history_end};

void command_run_history(struct conversation *conversation, struct command_request *request)
{
    struct command_channels channels = {0};
    struct text channel = {0};
    struct command_history *history = calloc(1, sizeof(*history));
    enum error_code error = ERROR_OUT_OF_MEMORY;
    char fault[AUTH_FAULT_MAX] = "";
    if (history && command_channels_next(&channels, request, &channel) && channel.bytes)
        error = conversation_check(conversation, ACCESS_SUBSCRIBE, channel, fault);
    if (error == ERROR_NONE) {
        history->limit = request->limit;
        history->ref = request->ref;
        history->errand.forget = history_forget;
        command_answer_begin(&history->json, "history", &request->ref);
        buf_append_text(&history->json, ",\"channel\":");
        render_json_string(&history->json, channel.bytes, channel.len);
        buf_append_text(&history->json, ",\"messages\":[");
        history->begin = history->json.len;
        errand_begin(&history->errand, &conversation->errands, &conversation->errands.others,
                     HISTORY_BYTES_MAX);
        error = gather_begin(&history->gather, conversation->shard, &history_ops,
                             (enum transport_kind)conversation->transport, channel, &request->start);
    }
    command_channels_deinit(&channels);
    if (error == ERROR_NONE)
        return;
    if (history && history->errand.errands)
        errand_end(&history->errand);
    if (history)
        history_free(&history->gather.garbage);
    command_answer_error(conversation, &request->ref, error, fault[0] ? fault : error_text(error));
}
