#include "http/publishing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/number.h"
#include "core/cursor.h"
#include "core/names.h"
#include "core/text.h"
#include "render/render.h"

#define TTL_SECONDS_MAX 31536000u

static enum error_code publishing_check_data(const struct message_parts *parts, char *fault)
{
    char why[JSON_FAULT_MAX];
    if (parts->type == MESSAGE_TEXT) {
        size_t bad;
        if (text_is_utf8(parts->data, parts->size, &bad))
            return ERROR_NONE;
        snprintf(fault, PUBLISHING_FAULT_MAX,
                 "the text is not UTF-8 from byte %zu on; publish bytes as application/octet-stream",
                 bad + 1);
        return ERROR_BAD_TEXT;
    }
    if (parts->type != MESSAGE_JSON)
        return ERROR_NONE;
    struct json_value *json = json_value_parse(parts->data, parts->size, why);
    if (!json) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "the data is not JSON: %s", why);
        return ERROR_BAD_JSON;
    }
    json_value_free(json);
    return ERROR_NONE;
}

static enum error_code publishing_check(const struct exchange *exchange, const struct draft *draft,
                                        char *fault)
{
    const char *name_fault = channel_name_fault(draft->channel, draft->channel_len);
    if (name_fault) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "a channel name %s", name_fault);
        return ERROR_BAD_CHANNEL;
    }
    if (draft->parts.size > exchange->shard->options->message_size_bytes) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "the message has %zu bytes; message-size allows %llu",
                 draft->parts.size, (unsigned long long)exchange->shard->options->message_size_bytes);
        return ERROR_TOO_LARGE;
    }
    const struct {
        const char *name;
        const char *text;
        size_t len;
    } attributes[] = {{"event", draft->parts.event, draft->parts.event_len},
                      {"producer", draft->parts.producer, draft->parts.producer_len},
                      {"Idempotency-Key", draft->key, draft->key_len}};
    for (size_t i = 0; i < ARRAY_LENGTH(attributes); i++) {
        if (text_is_attribute(attributes[i].text, attributes[i].len))
            continue;
        snprintf(fault, PUBLISHING_FAULT_MAX, "%s must be 1 to %u bytes of UTF-8 without control characters",
                 attributes[i].name, MESSAGE_ATTRIBUTE_MAX);
        return ERROR_BAD_OPTION;
    }
    if (draft->parts.event_len == 5 && memcmp(draft->parts.event, "reset", 5) == 0) {
        snprintf(fault, PUBLISHING_FAULT_MAX, "the event reset is the server's own; choose another name");
        return ERROR_BAD_OPTION;
    }
    return draft->is_checked ? ERROR_NONE : publishing_check_data(&draft->parts, fault);
}

enum error_code publishing_fill(const struct exchange *exchange, struct publish_item *item,
                                const struct draft *draft, char fault[PUBLISHING_FAULT_MAX])
{
    enum error_code error = publishing_check(exchange, draft, fault);
    if (error != ERROR_NONE)
        return error;
    snprintf(fault, PUBLISHING_FAULT_MAX, "%s", error_text(ERROR_OUT_OF_MEMORY));
    item->channel = malloc(draft->channel_len + draft->key_len);
    item->message = item->channel ? message_new(&draft->parts) : NULL;
    if (!item->message)
        return ERROR_OUT_OF_MEMORY;
    memcpy(item->channel, draft->channel, draft->channel_len);
    item->channel_len = (uint8_t)draft->channel_len;
    if (draft->key_len > 0) {
        item->key = item->channel + draft->channel_len;
        memcpy(item->channel + draft->channel_len, draft->key, draft->key_len);
        item->key_len = (uint8_t)draft->key_len;
    }
    return ERROR_NONE;
}

struct publishing *publishing_new(struct exchange *exchange, size_t count)
{
    struct publishing *publishing = calloc(1, sizeof(*publishing));
    if (!publishing)
        return NULL;
    publishing->exchange = exchange;
    publishing->request.count = count;
    publishing->request.items = count == 1 ? &publishing->one : calloc(count, sizeof(struct publish_item));
    if (publishing->request.items)
        return publishing;
    free(publishing);
    return NULL;
}

void publishing_free(struct publishing *publishing)
{
    struct publish_request *request = &publishing->request;
    for (size_t i = 0; i < request->count; i++) {
        free(request->items[i].channel);
        message_unref(request->items[i].message);
    }
    if (request->items != &publishing->one)
        free(request->items);
    free(publishing);
}

static void publishing_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct publishing *publishing = container_of(request, struct publishing, request);
    publishing->exchange->shard->hub.requests_pending--;
    publishing->done(publishing);
}

void publishing_submit(struct publishing *publishing, void (*done)(struct publishing *publishing))
{
    struct shard *shard = publishing->exchange->shard;
    publishing->done = done;
    shard->hub.requests_pending++;
    exchange_suspend(publishing->exchange);
    broker_submit(shard->group->broker, &publishing->request.super, BROKER_PUBLISH, &shard->mailbox,
                  publishing_answered);
}

void publishing_render(struct buf *to, const struct publish_item *item)
{
    char id[POSITION_TEXT_MAX];
    buf_append_text(to, "{\"channel\":");
    render_json_string(to, item->channel, item->channel_len);
    buf_append_text(to, ",\"id\":\"");
    buf_append(to, id, position_format(id, &item->epoch, item->offset));
    buf_append_text(to, "\",\"time\":");
    buf_append_u64(to, (uint64_t)item->time_ms);
    if (item->is_duplicate)
        buf_append_text(to, ",\"duplicate\":true");
    buf_append_char(to, '}');
}

int publishing_parse_ttl(uint64_t *ttl_ms, const char *text, size_t len)
{
    uint64_t seconds;
    if (number_parse_u64(&seconds, text, len) || seconds == 0)
        return -EINVAL;
    *ttl_ms = (seconds > TTL_SECONDS_MAX ? TTL_SECONDS_MAX : seconds) * 1000;
    return 0;
}
