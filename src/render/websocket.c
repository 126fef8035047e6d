/* SPDX-License-Identifier: MIT */

#include "base/websocket_frame.h"
#include "render/common.h"

struct rendering *render_websocket_data(const struct message *message, struct text channel,
                                        const struct epoch *epoch)
{
    struct buf payload = {0};
    (void)channel; /* a raw frame is the data alone */
    (void)epoch;
    websocket_append_frame_head(&payload, message->type == MESSAGE_BINARY ? WEBSOCKET_BINARY : WEBSOCKET_TEXT,
                                message->size);
    buf_append(&payload, message_data(message), message->size);
    return render_finish_plain(&payload, 0);
}

/* Puts a text frame around what stands in a buffer, of which `shared` bytes are not shared. */
static struct rendering *websocket_finish_text(struct buf *payload, size_t shared)
{
    size_t len = payload->len;
    websocket_begin_frame(payload, 0, WEBSOCKET_TEXT, 0);
    return render_finish_plain(payload, payload->len - len + shared);
}

struct rendering *render_websocket_json(const struct message *message, struct text channel,
                                        const struct epoch *epoch)
{
    struct buf payload = {0};
    size_t shared = render_json_object(&payload, message, channel, epoch);
    return websocket_finish_text(&payload, shared);
}

struct rendering *render_websocket_command(const struct message *message, struct text channel,
                                           const struct epoch *epoch)
{
    struct buf payload = {0};
    buf_append_text(&payload, "{\"op\":\"message\",");
    render_json_members(&payload, message, channel, epoch);
    buf_append_char(&payload, '}');
    return websocket_finish_text(&payload, 0);
}
