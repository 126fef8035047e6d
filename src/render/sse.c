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

struct rendering *render_sse(const struct message *message, struct text channel, const struct epoch *epoch)
{
    struct buf payload = {0};
    (void)channel; /* an event has no field for its channel; its id tells */
    buf_append_text(&payload, "id: ");
    render_id(&payload, epoch, message->offset);
    buf_append_char(&payload, '\n');
    size_t shared = payload.len;
    if (message->event_len > 0) {
        buf_append_text(&payload, "event: ");
        buf_append(&payload, message_event(message), message->event_len);
        buf_append_char(&payload, '\n');
    }
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
