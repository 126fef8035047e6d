/* SPDX-License-Identifier: MIT */
/* The Redis protocol (https://redis.io/docs/reference/protocol-spec/). */

#include "render/common.h"

void render_resp_bulk(struct buf *to, const char *bytes, size_t len)
{
    buf_append_char(to, '$');
    buf_append_u64(to, len);
    buf_append_text(to, "\r\n");
    buf_append(to, bytes, len);
    buf_append_text(to, "\r\n");
}

struct rendering *render_resp(const struct message *message, struct text channel, const struct epoch *epoch)
{
    struct buf payload = {0};
    (void)epoch; /* Redis has no cursor in a message */
    buf_append_text(&payload, "*3\r\n$7\r\nmessage\r\n");
    size_t shared = payload.len;
    render_resp_bulk(&payload, channel.bytes, channel.len);
    render_resp_bulk(&payload, message_data(message), message->size);
    return render_finish_plain(&payload, shared);
}
