/* SPDX-License-Identifier: MIT */
/* The parts of a multipart/x-mixed-replace stream: RFC 2046, section 5.1. */

#include "core/cursor.h"
#include "render/common.h"

static void multipart_append_field(void *cls, const char *name, const char *value)
{
    struct buf *to = cls;
    buf_append_text(to, name);
    buf_append_text(to, ": ");
    buf_append_text(to, value);
    buf_append_text(to, "\r\n");
}

/* A request's field may hold what would end ours. */
static void multipart_append_mime(struct buf *to, const struct message *message)
{
    char mime[MESSAGE_ATTRIBUTE_MAX + 1];
    message_mime(message, mime);
    multipart_append_field(to, "Content-Type",
                           message_attribute_is_valid(text_of(mime)) ? mime : "application/octet-stream");
}

/* Whatever is published, nobody's part ends before its data does: base64 has no '-' in it. */
static void multipart_append_data(struct buf *to, const struct message *message)
{
    struct buf encoded = {0};
    struct text data = {message_data(message), message->size};
    if (text_contains(data, RENDER_MULTIPART_BOUNDARY)) {
        render_base64(&encoded, data.bytes, data.len);
        data = (struct text){encoded.bytes, encoded.len};
        multipart_append_field(to, "Content-Transfer-Encoding", "base64");
    }
    buf_append_text(to, "Content-Length: ");
    buf_append_u64(to, data.len);
    buf_append_text(to, "\r\n\r\n");
    buf_append(to, data.bytes, data.len);
    to->has_failed = to->has_failed || encoded.has_failed;
    buf_deinit(&encoded);
}

void render_multipart_cursor(struct buf *to, struct text cursor)
{
    buf_append_text(to, "Sluice-Cursor: ");
    buf_append(to, cursor.bytes, cursor.len);
    buf_append_text(to, "\r\n");
}

/* Returns where the shared part begins. */
static size_t multipart_append_part(struct buf *to, const struct message *message, struct text channel,
                                    const struct epoch *epoch)
{
    char id[POSITION_TEXT_MAX];
    render_multipart_cursor(to, (struct text){id, position_format(id, epoch, message->offset)});
    size_t shared = to->len;
    multipart_append_mime(to, message);
    render_fields(message, channel, epoch, multipart_append_field, to);
    multipart_append_data(to, message);
    buf_append_text(to, "\r\n--" RENDER_MULTIPART_BOUNDARY "\r\n");
    return shared;
}

struct rendering *render_multipart(const struct message *message, struct text channel,
                                   const struct epoch *epoch)
{
    struct buf payload = {0};
    size_t shared = multipart_append_part(&payload, message, channel, epoch);
    return render_finish(&payload, shared);
}

struct rendering *render_multipart_picture(const struct message *message, struct text channel,
                                           const struct epoch *epoch)
{
    struct buf payload = {0};
    size_t shared = multipart_append_part(&payload, message, channel, epoch);
    size_t len = payload.len - shared;
    if (message->type == MESSAGE_BINARY && buf_reserve(&payload, len) == 0)
        buf_append(&payload, payload.bytes + shared, len);
    return render_finish(&payload, shared);
}
