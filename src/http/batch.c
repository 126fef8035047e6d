/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/json.h"
#include "http/origin.h"
#include "http/publishing.h"
#include "http/routes.h"
#include "render/render.h"

/* Messages in one batch; beyond it the answer alone would be larger than most bodies. */
#define BATCH_COUNT_MAX 100000u

struct batch {
    struct publishing super;
    char **faults; /* for each item that was refused here */
};

static const char *batch_text_member(const struct json_value *object, const char *name, size_t *len,
                                     char *fault)
{
    const struct json_value *member = json_value_member(object, name);
    *len = 0;
    if (!member)
        return NULL;
    if (json_value_is_string(member))
        return json_value_text(member, len);
    snprintf(fault, PUBLISHING_FAULT_MAX, "\"%s\" must be a string", name);
    return NULL;
}

/* The data as bytes that the caller frees: a string as text, anything else as JSON, unless "type" says
 * otherwise. */
static char *batch_data(const struct json_value *object, struct message_parts *parts, char *fault)
{
    size_t type_len;
    size_t text_len = 0;
    const struct json_value *data = json_value_member(object, "data");
    const char *type = batch_text_member(object, "type", &type_len, fault);
    if (!data) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "\"data\" is missing");
        return NULL;
    }
    bool is_string = json_value_is_string(data);
    const char *text = is_string ? json_value_text(data, &text_len) : NULL;
    if (!type)
        type = is_string ? "text" : "json";
    if (strcmp(type, "json") == 0) {
        parts->type = MESSAGE_JSON;
        return json_value_format(data, &parts->size);
    }
    char *bytes = malloc(text_len + 1);
    if (!bytes || !is_string || (strcmp(type, "text") != 0 && strcmp(type, "binary") != 0)) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "%s",
                 is_string ? "\"type\" must be text, json or binary"
                           : "\"data\" of this type must be a string");
        free(bytes);
        return NULL;
    }
    parts->type = strcmp(type, "text") == 0 ? MESSAGE_TEXT : MESSAGE_BINARY;
    parts->size = text_len;
    memcpy(bytes, text, text_len);
    if (parts->type == MESSAGE_BINARY && base64_decode(bytes, &parts->size, text, text_len)) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "\"data\" is not base64");
        free(bytes);
        return NULL;
    }
    return bytes;
}

static bool batch_read_ttl(const struct json_value *object, uint64_t *ttl_ms)
{
    const struct json_value *member = json_value_member(object, "ttl");
    uint64_t seconds;
    char text[24];
    if (!member)
        return true;
    if (json_value_u64(member, &seconds))
        return false;
    return publishing_parse_ttl(
               ttl_ms, text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)seconds)) == 0;
}

static enum error_code batch_fill(const struct exchange *exchange, struct publish_item *item,
                                  const struct json_value *object, char *fault)
{
    struct draft draft = {0};
    fault[0] = '\0';
    if (!json_value_is_object(object)) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "each message of a batch must be an object");
        return ERROR_BAD_BATCH;
    }
    draft.channel = batch_text_member(object, "channel", &draft.channel_len, fault);
    draft.parts.event = batch_text_member(object, "event", &draft.parts.event_len, fault);
    draft.parts.producer = batch_text_member(object, "producer", &draft.parts.producer_len, fault);
    draft.key = batch_text_member(object, "idempotency_key", &draft.key_len, fault);
    if (!draft.channel && !fault[0])
        snprintf(fault, PUBLISHING_FAULT_MAX, "\"channel\" is missing");
    if (!batch_read_ttl(object, &draft.parts.ttl_ms))
        snprintf(fault, PUBLISHING_FAULT_MAX, "\"ttl\" must be a whole number of seconds from 1 on");
    if (fault[0])
        return ERROR_BAD_BATCH;
    char *data = batch_data(object, &draft.parts, fault);
    if (!data)
        return fault[0] ? ERROR_BAD_BATCH : ERROR_OUT_OF_MEMORY;
    draft.parts.data = data;
    draft.is_checked = true; /* strings out of JSON are UTF-8, values are JSON */
    enum error_code error = publishing_fill(exchange, item, &draft, fault);
    free(data);
    return error;
}

/* A refused item keeps its channel for the answer where it is a name that can be shown. */
static void batch_take_item(struct batch *batch, size_t index, const struct json_value *object)
{
    char fault[PUBLISHING_FAULT_MAX];
    struct publish_item *item = &batch->super.request.items[index];
    item->error = batch_fill(batch->super.exchange, item, object, fault);
    if (item->error == ERROR_NONE)
        return;
    batch->faults[index] = strdup(fault);
    const struct json_value *name =
        json_value_is_object(object) ? json_value_member(object, "channel") : NULL;
    size_t len = 0;
    const char *text = name && json_value_is_string(name) ? json_value_text(name, &len) : NULL;
    if (!item->channel && text && len <= CHANNEL_NAME_MAX && (item->channel = malloc(len + 1))) {
        memcpy(item->channel, text, len);
        item->channel_len = (uint8_t)len;
    }
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
        publishing_render(to, item);
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
    buf_append_char(to, '}');
}

static void batch_done(struct publishing *super)
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

static struct batch *batch_new(struct exchange *exchange, size_t count)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return NULL;
    batch->super.exchange = exchange;
    batch->super.request.count = count;
    batch->super.request.items = calloc(count + 1, sizeof(struct publish_item));
    batch->faults = calloc(count + 1, sizeof(*batch->faults));
    if (batch->super.request.items && batch->faults)
        return batch;
    batch->super.request.count = 0;
    batch_free(batch);
    return NULL;
}

static void batch_fail_count(struct exchange *exchange)
{
    exchange_fail(exchange, ERROR_BAD_BATCH, "a batch has at most %u messages", BATCH_COUNT_MAX);
}

static struct batch *batch_read_array(struct exchange *exchange, const char *body, size_t len)
{
    char fault[JSON_FAULT_MAX];
    struct json_value *root = json_value_parse(body, len, fault);
    struct batch *batch = NULL;
    if (!root)
        exchange_fail(exchange, ERROR_BAD_JSON, "the body is not JSON: %s", fault);
    else if (!json_value_is_array(root))
        exchange_fail(exchange, ERROR_BAD_BATCH,
                      "the body must be an array of messages, or one object a line with Content-Type: "
                      "application/x-ndjson");
    else if (json_value_count(root) > BATCH_COUNT_MAX)
        batch_fail_count(exchange);
    else if (!(batch = batch_new(exchange, json_value_count(root))))
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
    for (size_t i = 0; batch && i < batch->super.request.count; i++)
        batch_take_item(batch, i, json_value_at(root, i));
    if (root)
        json_value_free(root);
    return batch;
}

/* The next line that is not blank; false at the end. */
static bool batch_next_line(const char *body, size_t len, size_t *at, unsigned *number, const char **line,
                            size_t *line_len)
{
    while (*at < len) {
        const char *begin = body + *at;
        const char *end = memchr(begin, '\n', len - *at);
        *line = begin;
        *line_len = end ? (size_t)(end - begin) : len - *at;
        *at += *line_len + 1;
        ++*number;
        if (strspn(begin, " \t\r") < *line_len)
            return true;
    }
    return false;
}

static struct batch *batch_read_lines(struct exchange *exchange, const char *body, size_t len)
{
    char fault[JSON_FAULT_MAX];
    const char *line;
    size_t line_len;
    size_t count = 0;
    unsigned number = 0;
    for (size_t at = 0; batch_next_line(body, len, &at, &number, &line, &line_len);)
        count++;
    if (count > BATCH_COUNT_MAX) {
        batch_fail_count(exchange);
        return NULL;
    }
    struct batch *batch = batch_new(exchange, count);
    if (!batch)
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
    size_t index = 0;
    number = 0;
    for (size_t at = 0; batch && batch_next_line(body, len, &at, &number, &line, &line_len);) {
        struct json_value *object = json_value_parse(line, line_len, fault);
        if (!object) {
            exchange_fail(exchange, ERROR_BAD_JSON, "line %u of the body is not JSON: %s", number, fault);
            batch_free(batch);
            return NULL;
        }
        batch_take_item(batch, index++, object);
        json_value_free(object);
    }
    return batch;
}

void batch_handle(struct exchange *exchange)
{
    size_t len;
    const char *body = exchange_body(exchange, &len);
    const char *mime = exchange_field(exchange, FIELD_CONTENT_TYPE);
    if (origin_refuses_change(exchange))
        return;
    bool is_lines = mime && (strncasecmp(mime, "application/x-ndjson", 20) == 0 ||
                             strncasecmp(mime, "application/ndjson", 18) == 0 ||
                             strncasecmp(mime, "application/jsonl", 17) == 0);
    struct batch *batch =
        is_lines ? batch_read_lines(exchange, body, len) : batch_read_array(exchange, body, len);
    if (batch)
        publishing_submit(&batch->super, batch_done);
}
