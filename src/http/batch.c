/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "http/publish.h"
#include "http/routes.h"
#include "render/render.h"

/* Messages in one batch; beyond it the answer alone would be larger than most bodies. */
#define BATCH_COUNT_MAX 100000u
#define NAME_SHOWN_MAX 64u

static const char *const batch_queries[] = {NULL}; /* each message has options of its own */

enum batch_member {
    MEMBER_CHANNEL,
    MEMBER_DATA,
    MEMBER_EVENT,
    MEMBER_TTL,
    MEMBER_PRODUCER,
    MEMBER_KEY,
    MEMBER_TYPE,
    MEMBER_COUNT
};

static const char *const batch_members[] = {
    [MEMBER_CHANNEL] = "channel", [MEMBER_DATA] = "data",         [MEMBER_EVENT] = "event",
    [MEMBER_TTL] = "ttl",         [MEMBER_PRODUCER] = "producer", [MEMBER_KEY] = "idempotency_key",
    [MEMBER_TYPE] = "type"};

/* One message as it is read. The first fault counts. */
struct batch_message {
    struct text members[MEMBER_COUNT];        /* in the body; without bytes when absent */
    struct json_value *strings[MEMBER_COUNT]; /* those with escapes, decoded */
    char *bytes;                              /* out of base64 */
    enum error_code error;
    char *fault;
};

struct batch {
    struct http_publish super;
    char **faults; /* for each item that was refused here */
};

__attribute__((format(printf, 2, 3))) static void batch_refuse(struct batch_message *message,
                                                               const char *format, ...)
{
    va_list arguments;
    if (message->error != ERROR_NONE)
        return;
    message->error = ERROR_BAD_BATCH;
    va_start(arguments, format);
    vsnprintf(message->fault, PUBLISH_FAULT_MAX, format, arguments);
    va_end(arguments);
}

static void batch_refuse_for_memory(struct batch_message *message)
{
    batch_refuse(message, "%s", error_text(ERROR_OUT_OF_MEMORY));
    message->error = ERROR_OUT_OF_MEMORY;
}

/* The bytes between the quotes of a string, or decoded to `*decoded` when any is escaped. NULL when memory is
 * out. */
static struct text batch_string(struct text span, struct json_value **decoded)
{
    if (!memchr(span.bytes, '\\', span.len))
        return (struct text){span.bytes + 1, span.len - 2};
    if (!*decoded)
        *decoded = json_value_parse(span);
    return *decoded ? json_value_text(*decoded) : (struct text){0};
}

/* The value of a member that must be a string; NULL when it is absent. */
static struct text batch_text(struct batch_message *message, enum batch_member member)
{
    const struct text span = message->members[member];
    struct text text = {0};
    if (span.len == 0)
        return text;
    if (span.bytes[0] != '"')
        batch_refuse(message, "\"%s\" must be a string", batch_members[member]);
    else if (!(text = batch_string(span, &message->strings[member])).bytes)
        batch_refuse_for_memory(message);
    return text;
}

static enum batch_member batch_find_member(struct batch_message *message, struct text name)
{
    struct json_value *decoded = NULL;
    struct text text = batch_string(name, &decoded);
    if (!text.bytes)
        batch_refuse_for_memory(message);
    size_t member = text_index(text, batch_members, MEMBER_COUNT);
    json_value_free(decoded);
    return (enum batch_member)member;
}

static void batch_refuse_member(struct batch_message *message, struct text name)
{
    size_t shown = name.len;
    if (shown > NAME_SHOWN_MAX)
        for (shown = NAME_SHOWN_MAX; (name.bytes[shown] & 0xc0) == 0x80;)
            shown--;
    batch_refuse(message,
                 "a message has no member %.*s; it has channel, data, event, ttl, producer, "
                 "idempotency_key and type",
                 (int)shown, name.bytes);
}

static void batch_split(struct batch_message *message, struct text object)
{
    struct json_walk walk;
    if (object.bytes[0] != '{') {
        batch_refuse(message, "each message of a batch must be an object");
        return;
    }
    json_walk_begin(&walk, object);
    while (json_walk_next(&walk)) {
        enum batch_member member = batch_find_member(message, walk.name);
        if (member == MEMBER_COUNT)
            batch_refuse_member(message, walk.name);
        else if (message->members[member].len > 0)
            batch_refuse(message, "\"%s\" is given twice", batch_members[member]);
        else
            message->members[member] = walk.value;
    }
}

static void batch_decode_base64(struct batch_message *message, struct message_parts *parts)
{
    message->bytes = malloc(parts->size + 1);
    if (!message->bytes)
        batch_refuse_for_memory(message);
    else if (base64_decode(message->bytes, &parts->size, parts->data, parts->size))
        batch_refuse(message, "\"data\" is not base64");
    parts->data = message->bytes;
}

/* A string is text, anything else JSON, unless "type" says otherwise. */
static void batch_read_data(struct batch_message *message, struct message_parts *parts)
{
    const struct text *data = &message->members[MEMBER_DATA];
    if (data->len == 0) {
        batch_refuse(message, "\"data\" is missing");
        return;
    }
    struct text type = batch_text(message, MEMBER_TYPE);
    bool is_string = data->bytes[0] == '"';
    parts->type = is_string ? MESSAGE_TEXT : MESSAGE_JSON;
    if (type.bytes && message_type_parse(&parts->type, type.bytes, type.len)) {
        batch_refuse(message, "\"type\" must be " MESSAGE_TYPE_WORDS);
    } else if (parts->type == MESSAGE_JSON) {
        parts->data = data->bytes;
        parts->size = data->len;
    } else if (!is_string) {
        batch_refuse(message, "\"data\" of this type must be a string");
    } else {
        struct text text = batch_text(message, MEMBER_DATA);
        parts->data = text.bytes;
        parts->size = text.len;
        if (parts->data && parts->type == MESSAGE_BINARY)
            batch_decode_base64(message, parts);
    }
}

static void batch_read(struct batch_message *message, struct text object, struct publish_wish *wish)
{
    batch_split(message, object);
    wish->channel = batch_text(message, MEMBER_CHANNEL);
    wish->parts.event = batch_text(message, MEMBER_EVENT);
    wish->parts.producer = batch_text(message, MEMBER_PRODUCER);
    wish->key = batch_text(message, MEMBER_KEY);
    if (!wish->channel.bytes)
        batch_refuse(message, "\"channel\" is missing");
    const struct text ttl = message->members[MEMBER_TTL];
    if (ttl.len > 0 && http_publish_parse_ttl(&wish->parts.ttl_ms, ttl))
        batch_refuse(message, "\"ttl\" must be a whole number of seconds from 1 on");
    batch_read_data(message, &wish->parts);
    wish->is_checked = true; /* strings out of JSON are UTF-8, values are JSON */
}

/* A refused item keeps its channel for the answer where it is a name that can be shown. */
static void batch_read_item(struct batch *batch, size_t index, struct text object)
{
    char fault[PUBLISH_FAULT_MAX] = "";
    struct batch_message message = {.fault = fault};
    struct publish_wish wish = {0};
    struct publish_item *item = &batch->super.request.items[index];
    batch_read(&message, object, &wish);
    if (message.error == ERROR_NONE)
        message.error =
            publish_item_fill(item, &wish, batch->super.exchange->shard->options->message_size_bytes, fault);
    item->error = message.error;
    if (item->error != ERROR_NONE)
        batch->faults[index] = strdup(fault);
    if (item->error != ERROR_NONE && !item->channel && wish.channel.bytes &&
        wish.channel.len <= CHANNEL_NAME_MAX && (item->channel = malloc(wish.channel.len + 1))) {
        memcpy(item->channel, wish.channel.bytes, wish.channel.len);
        item->channel_len = (uint8_t)wish.channel.len;
    }
    for (unsigned i = 0; i < MEMBER_COUNT; i++)
        json_value_free(message.strings[i]);
    free(message.bytes);
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
    if (http_publish_refuses(exchange, batch_queries))
        return;
    bool is_lines = mime && (http_publish_mime_is(mime, "application/x-ndjson") ||
                             http_publish_mime_is(mime, "application/ndjson") ||
                             http_publish_mime_is(mime, "application/jsonl"));
    struct batch *batch =
        is_lines ? batch_read_lines(exchange, body, len) : batch_read_array(exchange, body, len);
    if (batch)
        http_publish_submit(&batch->super, batch_done);
}
