/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/channel_options.h"
#include "core/publish_object.h"
#include "http/identity.h"
#include "http/publish.h"
#include "http/routes.h"
#include "render/render.h"

/* Messages in one batch; beyond it the answer alone would be larger than most bodies. */
#define BATCH_COUNT_MAX 100000u
/* Of what is told of one of them, at least: its channel and id, or what is wrong with it. */
#define BATCH_TOLD_BYTES 160u
#define BATCH_FAULT_MAX (PUBLISH_FAULT_MAX + AUTH_FAULT_MAX)

static const char *const batch_queries[] = {"token", NULL}; /* each message has options of its own */

static const char *const batch_members[] = {PUBLISH_MEMBERS, NULL};

struct batch {
    struct http_publish super;
    char **faults; /* for each item that was refused here */
};

static enum error_code batch_read(struct publish_object *object, struct text value, struct publish_wish *wish,
                                  char *fault)
{
    char ignored[PUBLISH_FAULT_MAX];
    json_object_read(&object->members, value, batch_members);
    int err = json_object_check(&object->members, PUBLISH_MEMBER_SET, "a message", fault);
    if (err)
        (void)json_object_string(&object->members, PUBLISH_CHANNEL, &wish->channel,
                                 ignored); /* to be shown */
    else
        err = publish_object_wish(object, wish, fault);
    if (err == -ENOMEM)
        snprintf(fault, PUBLISH_FAULT_MAX, "%s", error_text(ERROR_OUT_OF_MEMORY));
    return err == -ENOMEM ? ERROR_OUT_OF_MEMORY : err ? ERROR_BAD_BATCH : ERROR_NONE;
}

/* A refused item keeps its channel for the answer where it is a name that can be shown. */
static void batch_read_item(struct batch *batch, size_t index, struct text value)
{
    struct exchange *exchange = batch->super.exchange;
    char fault[BATCH_FAULT_MAX] = "";
    struct publish_object object = {0};
    struct publish_wish wish = {0};
    struct publish_item *item = &batch->super.request.items[index];
    item->error = batch_read(&object, value, &wish, fault);
    if (item->error == ERROR_NONE)
        item->error = publish_item_fill(item, &wish,
                                        channel_message_size(exchange->shard->options, wish.channel), fault);
    if (item->error == ERROR_NONE)
        item->error =
            identity_check(exchange, ACCESS_PUBLISH, (struct text){item->channel, item->channel_len}, fault);
    if (item->error == ERROR_NONE)
        item->error = http_publish_admit(exchange, item, fault);
    if (item->error != ERROR_NONE) {
        batch->faults[index] = strdup(fault);
        message_unref(item->message); /* one that is refused does not get to the broker */
        item->message = NULL;
    }
    if (item->error != ERROR_NONE && !item->channel && wish.channel.bytes &&
        wish.channel.len <= CHANNEL_NAME_MAX && (item->channel = malloc(wish.channel.len + 1))) {
        memcpy(item->channel, wish.channel.bytes, wish.channel.len);
        item->channel_len = (uint8_t)wish.channel.len;
    }
    publish_object_deinit(&object);
}

static void batch_free(struct batch *batch)
{
    struct publish_request *request = &batch->super.request;
    for (size_t i = 0; i < request->count; i++) {
        free(request->items[i].channel);
        message_unref(request->items[i].message);
        free(batch->faults[i]);
    }
    free(request->items);
    free(batch->faults);
    free(batch);
}

static void batch_render_item(struct buf *to, const struct publish_item *item, const char *fault,
                              enum error_code error)
{
    if (error == ERROR_NONE) {
        http_publish_render(to, item);
        return;
    }
    buf_append_text(to, "{\"channel\":");
    if (item->channel)
        render_json_string(to, item->channel, item->channel_len);
    else
        buf_append_text(to, "null");
    buf_append_text(to, ",\"error\":\"");
    buf_append_text(to, error_name(error));
    buf_append_text(to, "\",\"message\":");
    const char *message = fault ? fault : error_text(error);
    render_json_string(to, message, strlen(message));
    const uint32_t retry_after_s = error_retry_after_s(error, item->retry_after_s);
    if (retry_after_s > 0) {
        buf_append_text(to, ",\"retry_after\":");
        buf_append_u64(to, retry_after_s);
    }
    buf_append_char(to, '}');
}

static void batch_done(struct http_publish *super)
{
    struct batch *batch = container_of(super, struct batch, super);
    const struct publish_request *request = &super->request;
    struct buf json = {0};
    buf_append_char(&json, '[');
    for (size_t i = 0; i < request->count; i++) {
        const struct publish_item *item = &request->items[i];
        enum error_code error = item->error != ERROR_NONE ? item->error : request->super.error;
        buf_append_text(&json, i > 0 ? ",\n" : "");
        batch_render_item(&json, item, batch->faults[i], error);
    }
    buf_append_text(&json, "]\n");
    exchange_answer_json(
        super->exchange,
        request->super.error == ERROR_NONE ? MHD_HTTP_OK : error_status(request->super.error), &json);
    batch_free(batch);
}

/* NULL when the exchange has been answered. */
static struct batch *batch_new(struct exchange *exchange, size_t count)
{
    if (count > BATCH_COUNT_MAX) {
        exchange_fail(exchange, ERROR_BAD_BATCH, "a batch has at most %u messages", BATCH_COUNT_MAX);
        return NULL;
    }
    if (!exchange_reserve_answer(exchange, count * BATCH_TOLD_BYTES)) {
        exchange_fail(exchange, ERROR_CONNECTION_MEMORY, "%s", error_text(ERROR_CONNECTION_MEMORY));
        return NULL;
    }
    struct batch *batch = calloc(1, sizeof(*batch));
    if (batch) {
        batch->super.exchange = exchange;
        batch->super.request.items = calloc(count + 1, sizeof(struct publish_item));
        batch->faults = calloc(count + 1, sizeof(*batch->faults));
        if (batch->super.request.items && batch->faults) {
            batch->super.request.count = count;
            return batch;
        }
        batch_free(batch);
    }
    exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
    return NULL;
}

static struct batch *batch_read_array(struct exchange *exchange, const char *body, size_t len)
{
    char fault[JSON_FAULT_MAX];
    struct text root;
    struct json_walk walk;
    size_t count = 0;
    if (json_scan(&root, body, len, fault)) {
        exchange_fail(exchange, ERROR_BAD_JSON, "the body is not JSON: %s", fault);
        return NULL;
    }
    if (root.bytes[0] != '[') {
        exchange_fail(exchange, ERROR_BAD_BATCH,
                      "the body must be an array of messages, or one object a line with Content-Type: "
                      "application/x-ndjson");
        return NULL;
    }
    for (json_walk_begin(&walk, root); json_walk_next(&walk);)
        count++;
    struct batch *batch = batch_new(exchange, count);
    json_walk_begin(&walk, root);
    for (size_t i = 0; batch && json_walk_next(&walk); i++)
        batch_read_item(batch, i, walk.value);
    return batch;
}

/* The next line that is not blank; false at the end. */
static bool batch_next_line(const char *body, size_t len, size_t *at, unsigned *number, struct text *line)
{
    while (*at < len) {
        const char *begin = body + *at;
        const char *end = memchr(begin, '\n', len - *at);
        *line = (struct text){begin, end ? (size_t)(end - begin) : len - *at};
        *at += line->len + 1;
        ++*number;
        for (size_t i = 0; i < line->len; i++)
            if (begin[i] != ' ' && begin[i] != '\t' && begin[i] != '\r')
                return true;
    }
    return false;
}

static struct batch *batch_read_lines(struct exchange *exchange, const char *body, size_t len)
{
    char fault[JSON_FAULT_MAX];
    struct text line;
    struct text object;
    size_t count = 0;
    unsigned number = 0;
    for (size_t at = 0; batch_next_line(body, len, &at, &number, &line);)
        count++;
    struct batch *batch = batch_new(exchange, count);
    size_t index = 0;
    number = 0;
    for (size_t at = 0; batch && batch_next_line(body, len, &at, &number, &line);) {
        if (json_scan(&object, line.bytes, line.len, fault)) {
            /* To the scanner each line is line 1. */
            exchange_fail(exchange, ERROR_BAD_JSON, "the body is not JSON: line %u%s", number,
                          fault + strcspn(fault, ","));
            batch_free(batch);
            return NULL;
        }
        batch_read_item(batch, index++, object);
    }
    return batch;
}

void batch_handle(struct exchange *exchange)
{
    size_t len;
    const char *body = exchange_body(exchange, &len);
    const char *mime = exchange_field(exchange, FIELD_CONTENT_TYPE);
    if (http_publish_refuses(exchange, batch_queries) || identity_refuses_token(exchange))
        return;
    bool is_lines = mime && (http_publish_mime_is(mime, "application/x-ndjson") ||
                             http_publish_mime_is(mime, "application/ndjson") ||
                             http_publish_mime_is(mime, "application/jsonl"));
    struct batch *batch =
        is_lines ? batch_read_lines(exchange, body, len) : batch_read_array(exchange, body, len);
    if (batch)
        http_publish_submit(&batch->super, batch_done);
}
