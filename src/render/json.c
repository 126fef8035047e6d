/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "render/common.h"

void render_json_string(struct buf *to, const char *bytes, size_t len)
{
    size_t plain = 0;
    buf_append_char(to, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
            continue;
        char escape[8];
        buf_append(to, bytes + plain, i - plain);
        plain = i + 1;
        if (byte == '"' || byte == '\\')
            snprintf(escape, sizeof(escape), "\\%c", byte);
        else if (byte == '\n' || byte == '\r' || byte == '\t')
            snprintf(escape, sizeof(escape), "\\%c", byte == '\n' ? 'n' : byte == '\r' ? 'r' : 't');
        else
            snprintf(escape, sizeof(escape), "\\u%04x", byte);
        buf_append_text(to, escape);
    }
    buf_append(to, bytes + plain, len - plain);
    buf_append_char(to, '"');
}

void render_json_key(struct buf *to, const char *name)
{
    buf_append_char(to, '"');
    buf_append_text(to, name);
    buf_append_text(to, "\":");
}

/* JSON as published may be spread over lines; outside of strings, where no raw line end can be, a space means
 * the same. */
static void json_append_on_one_line(struct buf *to, const char *json, size_t len)
{
    size_t begin = to->len;
    buf_append(to, json, len);
    for (size_t i = begin; i < to->len; i++)
        if (to->bytes[i] == '\n' || to->bytes[i] == '\r')
            to->bytes[i] = ' ';
}

static void json_append_data(struct buf *to, const struct message *message)
{
    const char *data = message_data(message);
    buf_append_text(to, ",\"type\":\"");
    buf_append_text(to, message_type_word((enum message_type)message->type));
    buf_append_text(to, "\",\"data\":");
    switch ((enum message_type)message->type) {
    case MESSAGE_TEXT:
        render_json_string(to, data, message->size);
        break;
    case MESSAGE_JSON:
        json_append_on_one_line(to, data, message->size);
        break;
    case MESSAGE_BINARY:
        buf_append_char(to, '"');
        render_base64(to, data, message->size);
        buf_append_char(to, '"');
        break;
    }
}

static void json_append_member(struct buf *to, const char *begin, struct text value)
{
    buf_append_text(to, begin);
    render_json_string(to, value.bytes, value.len);
}

/* The channel that it was published to, and the tree whose log the id is of. */
static void json_append_channels(struct buf *to, struct text channel, struct text log)
{
    json_append_member(to, "\"channel\":", channel);
    if (channel.bytes != log.bytes)
        json_append_member(to, ",\"tree\":", log);
}

void render_json_members(struct buf *to, const struct message *message, struct text channel,
                         const struct epoch *epoch)
{
    const struct text published_to = message_channel(message);
    const struct text key = message_key(message);
    json_append_channels(to, published_to.len > 0 ? published_to : channel, channel);
    buf_append_text(to, ",\"id\":\"");
    render_id(to, epoch, message->offset);
    buf_append_text(to, "\",\"time\":");
    buf_append_u64(to, (uint64_t)message->time_ms);
    if (message->event_len > 0)
        json_append_member(to, ",\"event\":", (struct text){message_event(message), message->event_len});
    if (message->producer_len > 0)
        json_append_member(to,
                           ",\"producer\":", (struct text){message_producer(message), message->producer_len});
    if (key.len > 0)
        json_append_member(to, ",\"key\":", key);
    if (message->is_transient)
        buf_append_text(to, ",\"stored\":false");
    json_append_data(to, message);
}

void render_json_cursor(struct buf *to, struct text cursor)
{
    buf_append_text(to, "{\"cursor\":\"");
    buf_append(to, cursor.bytes, cursor.len);
    buf_append_text(to, "\",");
}

size_t render_json_object(struct buf *to, const struct message *message, struct text channel,
                          const struct epoch *epoch)
{
    size_t at = to->len;
    buf_append_text(to, "{\"cursor\":\"");
    render_id(to, epoch, message->offset);
    buf_append_text(to, "\",");
    size_t shared = to->len - at;
    render_json_members(to, message, channel, epoch);
    buf_append_char(to, '}');
    return shared;
}

struct rendering *render_json(const struct message *message, struct text channel, const struct epoch *epoch)
{
    struct buf payload = {0};
    size_t shared = render_json_object(&payload, message, channel, epoch);
    buf_append_char(&payload, '\n');
    return render_finish(&payload, shared);
}

void render_recovery(struct buf *to, bool is_recovered, enum completeness completeness)
{
    buf_append_text(to, is_recovered ? "\"recovered\":true" : "\"recovered\":false");
    if (completeness != COMPLETENESS_PLAIN)
        buf_append_text(to,
                        completeness == COMPLETENESS_WHOLE ? ",\"complete\":true" : ",\"complete\":false");
}

void render_json_opening(struct buf *to, struct text cursor, bool is_recovered,
                         enum completeness completeness)
{
    render_json_cursor(to, cursor);
    render_recovery(to, is_recovered, completeness);
    buf_append_char(to, '}');
}

void render_json_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                       struct text cursor)
{
    render_json_cursor(to, cursor);
    buf_append_text(to, "\"reset\":");
    render_reset(to, channel, reason, missed, cursor);
    buf_append_char(to, '}');
}

void render_reset_members(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                          struct text cursor)
{
    buf_append_text(to, "\"channel\":");
    render_json_string(to, channel.bytes, channel.len);
    buf_append_text(to, ",\"reason\":\"");
    buf_append_text(to, reset_reason_word(reason));
    buf_append_char(to, '"');
    if (missed != UINT64_MAX) {
        buf_append_text(to, ",\"");
        buf_append_text(to, reset_number_word(reason));
        buf_append_text(to, "\":");
        buf_append_u64(to, missed);
    }
    buf_append_text(to, ",\"cursor\":\"");
    buf_append(to, cursor.bytes, cursor.len);
    buf_append_char(to, '"');
}

void render_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                  struct text cursor)
{
    buf_append_char(to, '{');
    render_reset_members(to, channel, reason, missed, cursor);
    buf_append_char(to, '}');
}
