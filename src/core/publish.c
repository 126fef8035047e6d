/* SPDX-License-Identifier: MIT */
#include "core/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/number.h"
#include "core/names.h"

#define TTL_SECONDS_MAX 31536000u

static enum error_code publish_check_data(const struct message_parts *parts, char *fault)
{
    char why[JSON_FAULT_MAX];
    if (parts->type == MESSAGE_TEXT) {
        size_t bad;
        if (text_is_utf8(parts->data, parts->size, &bad))
            return ERROR_NONE;
        snprintf(fault, PUBLISH_FAULT_MAX,
                 "the text is not UTF-8 from byte %zu on; publish bytes as application/octet-stream",
                 bad + 1);
        return ERROR_BAD_TEXT;
    }
    if (parts->type != MESSAGE_JSON)
        return ERROR_NONE;
    struct text value;
    if (json_scan(&value, parts->data, parts->size, why) == 0)
        return ERROR_NONE;
    snprintf(fault, PUBLISH_FAULT_MAX, "the data is not JSON: %s", why);
    return ERROR_BAD_JSON;
}

bool publish_event_is_reserved(struct text event)
{
    static const char *const reserved[] = {"reset", "error", "open", "subscribed", "expired"};
    return event.len > 0 && text_index(event, reserved, ARRAY_LENGTH(reserved)) < ARRAY_LENGTH(reserved);
}

static enum error_code publish_check(const struct publish_wish *wish, uint64_t size_limit_bytes, char *fault)
{
    const char *name_fault = channel_name_fault(wish->channel.bytes, wish->channel.len);
    if (name_fault) {
        snprintf(fault, PUBLISH_FAULT_MAX, "a channel name %s", name_fault);
        return ERROR_BAD_CHANNEL;
    }
    if (channel_name_is_reserved(wish->channel)) {
        snprintf(fault, PUBLISH_FAULT_MAX,
                 "%.*s is the server's own: nobody publishes to a name with a "
                 "segment that begins with $",
                 (int)wish->channel.len, wish->channel.bytes);
        return ERROR_RESERVED_CHANNEL;
    }
    if (wish->parts.size > size_limit_bytes) {
        snprintf(fault, PUBLISH_FAULT_MAX, "the message has %zu bytes; message-size allows %llu",
                 wish->parts.size, (unsigned long long)size_limit_bytes);
        return ERROR_TOO_LARGE;
    }
    const struct {
        const char *name;
        struct text text;
    } attributes[] = {{"event", wish->parts.event},
                      {"producer", wish->parts.producer},
                      {"key", wish->parts.key},
                      {"Idempotency-Key", wish->key}};
    for (size_t i = 0; i < ARRAY_LENGTH(attributes); i++) {
        bool is_empty = attributes[i].text.bytes && attributes[i].text.len == 0;
        if (!is_empty && message_attribute_is_valid(attributes[i].text))
            continue;
        snprintf(fault, PUBLISH_FAULT_MAX, "%s must be 1 to %u bytes of UTF-8 without control characters",
                 attributes[i].name, MESSAGE_ATTRIBUTE_MAX);
        return ERROR_BAD_OPTION;
    }
    if (publish_event_is_reserved(wish->parts.event)) {
        snprintf(fault, PUBLISH_FAULT_MAX,
                 "the event %.*s is the server's or the browser's own; choose another name",
                 (int)wish->parts.event.len, wish->parts.event.bytes);
        return ERROR_BAD_OPTION;
    }
    return wish->is_checked ? ERROR_NONE : publish_check_data(&wish->parts, fault);
}

int publish_parse_ttl(uint64_t *ttl_ms, struct text text)
{
    uint64_t seconds;
    if (number_parse_u64(&seconds, text.bytes, text.len) || seconds == 0)
        return -EINVAL;
    *ttl_ms = (seconds > TTL_SECONDS_MAX ? TTL_SECONDS_MAX : seconds) * 1000;
    return 0;
}

int publish_parse_store(bool *is_transient, struct text text)
{
    if (!text_is(text, "yes") && !text_is(text, "no"))
        return -EINVAL;
    *is_transient = text_is(text, "no");
    return 0;
}

enum error_code publish_item_fill(struct publish_item *item, const struct publish_wish *wish,
                                  uint64_t size_limit_bytes, char fault[PUBLISH_FAULT_MAX])
{
    enum error_code error = publish_check(wish, size_limit_bytes, fault);
    if (error != ERROR_NONE)
        return error;
    item->channel = malloc(wish->channel.len + wish->key.len);
    item->message = item->channel ? message_new(&wish->parts) : NULL;
    if (!item->message) {
        snprintf(fault, PUBLISH_FAULT_MAX, "%s", error_text(ERROR_OUT_OF_MEMORY));
        return ERROR_OUT_OF_MEMORY;
    }
    memcpy(item->channel, wish->channel.bytes, wish->channel.len);
    item->channel_len = (uint8_t)wish->channel.len;
    item->type = (uint8_t)wish->parts.type;
    item->is_transient = wish->parts.is_transient;
    if (wish->key.len > 0) {
        item->key = item->channel + wish->channel.len;
        memcpy(item->channel + wish->channel.len, wish->key.bytes, wish->key.len);
        item->key_len = (uint8_t)wish->key.len;
    }
    return ERROR_NONE;
}

enum error_code publish_item_admit(struct publish_item *item, const struct publish_guard *guard,
                                   const struct asker *by, char fault[PUBLISH_FAULT_MAX])
{
    const struct text channel = {item->channel, item->channel_len};
    return guard ? guard->admit(guard, by, channel, &item->retry_after_s, fault) : ERROR_NONE;
}
