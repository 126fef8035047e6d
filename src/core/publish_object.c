/* SPDX-License-Identifier: MIT */
#include "core/publish_object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "core/cursor.h"
#include "render/render.h"

static int publish_object_refuse(char *fault, const char *sentence)
{
    snprintf(fault, PUBLISH_FAULT_MAX, "%s", sentence);
    return -EINVAL;
}

static int publish_decode_base64(struct publish_object *object, struct message_parts *parts, char *fault)
{
    object->bytes = malloc(parts->size + 1);
    if (!object->bytes)
        return -ENOMEM;
    if (base64_decode(object->bytes, &parts->size, parts->data, parts->size))
        return publish_object_refuse(fault, "\"data\" is not base64");
    parts->data = object->bytes;
    return 0;
}

/* A string is text, anything else JSON, unless "type" says otherwise. */
static int publish_read_data(struct publish_object *object, struct message_parts *parts, char *fault)
{
    const struct text *data = &object->members.values[PUBLISH_DATA];
    struct text string;
    if (!data->bytes)
        return publish_object_refuse(fault, "\"data\" is missing");
    bool is_string = data->bytes[0] == '"';
    parts->type = is_string ? MESSAGE_TEXT : MESSAGE_JSON;
    int err = json_object_string(&object->members, PUBLISH_TYPE, &string, fault);
    if (err)
        return err;
    if (string.bytes && message_type_parse(&parts->type, string.bytes, string.len))
        return publish_object_refuse(fault, "\"type\" must be " MESSAGE_TYPE_WORDS);
    if (parts->type == MESSAGE_JSON) {
        parts->data = data->bytes;
        parts->size = data->len;
        return 0;
    }
    if (!is_string)
        return publish_object_refuse(fault, "\"data\" of this type must be a string");
    err = json_object_string(&object->members, PUBLISH_DATA, &string, fault);
    parts->data = string.bytes;
    parts->size = string.len;
    return err || parts->type == MESSAGE_TEXT ? err : publish_decode_base64(object, parts, fault);
}

int publish_object_wish(struct publish_object *object, struct publish_wish *wish,
                        char fault[PUBLISH_FAULT_MAX])
{
    _Static_assert(PUBLISH_FAULT_MAX >= JSON_OBJECT_FAULT_MAX, "a fault fits");
    const struct {
        enum publish_member member;
        struct text *to;
    } strings[] = {{PUBLISH_CHANNEL, &wish->channel},
                   {PUBLISH_EVENT, &wish->parts.event},
                   {PUBLISH_PRODUCER, &wish->parts.producer},
                   {PUBLISH_MESSAGE_KEY, &wish->parts.key},
                   {PUBLISH_KEY, &wish->key}};
    const struct text ttl = object->members.values[PUBLISH_TTL];
    const struct text store = object->members.values[PUBLISH_STORE];
    int err = 0;
    for (size_t i = 0; !err && i < ARRAY_LENGTH(strings); i++)
        err = json_object_string(&object->members, strings[i].member, strings[i].to, fault);
    if (err)
        return err;
    if (!wish->channel.bytes)
        return publish_object_refuse(fault, "\"channel\" is missing");
    if (ttl.bytes && publish_parse_ttl(&wish->parts.ttl_ms, ttl))
        return publish_object_refuse(fault, "\"ttl\" must be a whole number of seconds from 1 on");
    if (store.bytes && !text_is(store, "true") && !text_is(store, "false"))
        return publish_object_refuse(fault, "\"store\" must be true or false");
    wish->parts.is_transient = text_is(store, "false");
    wish->is_checked = true; /* strings out of JSON are UTF-8, values are JSON */
    return publish_read_data(object, &wish->parts, fault);
}

void publish_object_deinit(struct publish_object *object)
{
    json_object_deinit(&object->members);
    free(object->bytes);
}

void publish_append_members(struct buf *to, const struct publish_item *item)
{
    char id[POSITION_TEXT_MAX];
    buf_append_text(to, "\"channel\":");
    render_json_string(to, item->channel, item->channel_len);
    buf_append_text(to, ",\"id\":\"");
    buf_append(to, id, position_format(id, &item->epoch, item->offset));
    buf_append_text(to, "\",\"time\":");
    buf_append_u64(to, (uint64_t)item->time_ms);
    buf_append_text(to, ",\"type\":\"");
    buf_append_text(to, message_type_word((enum message_type)item->type));
    buf_append_char(to, '"');
    if (item->is_transient)
        buf_append_text(to, ",\"stored\":false");
    if (item->is_duplicate)
        buf_append_text(to, ",\"duplicate\":true");
    buf_append_char(to, '}');
}
