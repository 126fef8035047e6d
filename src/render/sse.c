/* SPDX-License-Identifier: MIT */

#include "render/common.h"

/* Section 9.2.6 of the HTML standard: a line ends at CRLF, LF or CR. */
void render_sse_data(struct buf *to, const char *text, size_t len)
{
    size_t begin = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] != '\n' && text[i] != '\r')
            continue;
        buf_append_text(to, "data: ");
        buf_append(to, text + begin, i - begin);
        buf_append_char(to, '\n');
        if (i + 1 < len && text[i] == '\r' && text[i + 1] == '\n')
            i++;
        begin = i + 1;
    }
}

/* The fields of an event before its data. Returns where the shared part begins. */
static size_t sse_begin_event(struct buf *to, const struct message *message, const struct epoch *epoch)
{
    buf_append_text(to, "id: ");
    render_id(to, epoch, message->offset);
    buf_append_char(to, '\n');
    size_t shared = to->len;
    if (message->event_len > 0) {
        buf_append_text(to, "event: ");
        buf_append(to, message_event(message), message->event_len);
        buf_append_char(to, '\n');
    }
    return shared;
}

struct rendering *render_sse(const struct message *message, struct text channel, const struct epoch *epoch)
{
    struct buf payload = {0};
    (void)channel; /* an event has no field for its channel; its id tells */
    size_t shared = sse_begin_event(&payload, message, epoch);
    if (message->type == MESSAGE_BINARY) {
        buf_append_text(&payload, "data: ");
        render_base64(&payload, message_data(message), message->size);
        buf_append_char(&payload, '\n');
    } else {
        render_sse_data(&payload, message_data(message), message->size);
    }
    buf_append_char(&payload, '\n');
    return render_finish(&payload, shared);
}

struct rendering *render_sse_json(const struct message *message, struct text channel,
                                  const struct epoch *epoch)
{
    struct buf payload = {0};
    size_t shared = sse_begin_event(&payload, message, epoch);
    buf_append_text(&payload, "data: {");
    render_json_members(&payload, message, channel, epoch);
    buf_append_text(&payload, "}\n\n");
    return render_finish(&payload, shared);
}
