/* SPDX-License-Identifier: MIT */
/* Header fields that say what a message or a reset is. */

#include <string.h>

#include "base/number.h"
#include "core/cursor.h"
#include "render/common.h"

static void fields_take(void *cls, render_field_taker *take, const char *name, const char *bytes, size_t len)
{
    char value[MESSAGE_ATTRIBUTE_MAX + 1];
    memcpy(value, bytes, len);
    value[len] = '\0';
    take(cls, name, value);
}

void render_fields(const struct message *message, struct text channel, const struct epoch *epoch,
                   render_field_taker *take, void *cls)
{
    char text[POSITION_TEXT_MAX + 1];
    const struct text published_to = message_channel(message);
    const struct text key = message_key(message);
    const struct text told = published_to.len > 0 ? published_to : channel;
    fields_take(cls, take, "Sluice-Channel", told.bytes, told.len);
    if (published_to.len > 0)
        fields_take(cls, take, "Sluice-Tree", channel.bytes, channel.len);
    fields_take(cls, take, "Sluice-Id", text, position_format(text, epoch, message->offset));
    text[number_format_u64(text, (uint64_t)message->time_ms)] = '\0';
    take(cls, "Sluice-Time", text);
    if (message->event_len > 0)
        fields_take(cls, take, "Sluice-Event", message_event(message), message->event_len);
    if (message->producer_len > 0)
        fields_take(cls, take, "Sluice-Producer", message_producer(message), message->producer_len);
    if (key.len > 0)
        fields_take(cls, take, "Sluice-Key", key.bytes, key.len);
    if (message->is_transient)
        take(cls, "Sluice-Store", "no");
}

void render_reset_item(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed)
{
    buf_append_text(to, reset_reason_word(reason));
    if (missed != UINT64_MAX) {
        buf_append_text(to, "; ");
        buf_append_text(to, reset_number_word(reason));
        buf_append_char(to, '=');
        buf_append_u64(to, missed);
    }
    buf_append_text(to, "; channel=\"");
    buf_append(to, channel.bytes, channel.len);
    buf_append_char(to, '"');
}
