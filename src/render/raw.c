/* SPDX-License-Identifier: MIT */
/* Frames for those who speak neither HTTP nor Redis. */

#include <string.h>

#include "render/common.h"

static void raw_append_string(struct buf *to, const struct message *message)
{
    if (message->type != MESSAGE_BINARY) {
        render_json_string(to, message_data(message), message->size);
        return;
    }
    buf_append_char(to, '"');
    render_base64(to, message_data(message), message->size);
    buf_append_char(to, '"');
}

/* Nobody gets a broken frame: data with one of `marks` in it goes as a string that has none. */
static struct rendering *raw_render_delimited(const struct message *message, const char *marks,
                                              size_t mark_count, const char *delimiter, size_t delimiter_len)
{
    struct buf payload = {0};
    bool has_mark = false;
    for (size_t i = 0; i < mark_count; i++)
        has_mark = has_mark || memchr(message_data(message), marks[i], message->size);
    if (has_mark)
        raw_append_string(&payload, message);
    else
        buf_append(&payload, message_data(message), message->size);
    buf_append(&payload, delimiter, delimiter_len);
    return render_finish_plain(&payload, 0);
}

struct rendering *render_crlf(const struct message *message, struct text channel, const struct epoch *epoch)
{
    (void)channel; /* a raw frame is the data alone */
    (void)epoch;
    return raw_render_delimited(message, "\r\n", 2, "\r\n", 2);
}

struct rendering *render_nul(const struct message *message, struct text channel, const struct epoch *epoch)
{
    (void)channel;
    (void)epoch;
    return raw_render_delimited(message, "\0", 1, "\0", 1);
}

struct rendering *render_len32(const struct message *message, struct text channel, const struct epoch *epoch)
{
    struct buf payload = {0};
    const uint32_t size = message->size;
    const char prefix[] = {(char)(size >> 24), (char)(size >> 16), (char)(size >> 8), (char)size};
    (void)channel;
    (void)epoch;
    buf_append(&payload, prefix, sizeof(prefix));
    buf_append(&payload, message_data(message), size);
    return render_finish_plain(&payload, 0);
}

void render_reset_line(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed)
{
    buf_append_text(to, "RESET ");
    buf_append(to, channel.bytes, channel.len);
    buf_append_char(to, ' ');
    buf_append_text(to, reset_reason_word(reason));
    buf_append_char(to, ' ');
    if (missed == UINT64_MAX)
        buf_append_char(to, '-');
    else
        buf_append_u64(to, missed);
}
