/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "render/common.h"

/* U+0800 to U+FFFF in UTF-8 (RFC 3629). */
static unsigned sockjs_code_point(const unsigned char *bytes)
{
    return (bytes[0] & 0x0fu) << 12 | (bytes[1] & 0x3fu) << 6 | (bytes[2] & 0x3fu);
}

/* Characters that browsers change or that end a line of a script (SockJS protocol 0.3.3, "JSON Unicode
 * Encoding"): U+200C to U+200F, U+2028 to U+202F, U+2060 to U+206F, U+FFF0 to U+FFFF. */
static bool sockjs_is_fragile(unsigned code)
{
    return (code >= 0x200c && code <= 0x200f) || (code >= 0x2028 && code <= 0x202f) ||
           (code >= 0x2060 && code <= 0x206f) || code >= 0xfff0;
}

/* How many bytes of UTF-8 an escape has to stand for; 0 when they stand for themselves. */
static size_t sockjs_find_escape(const unsigned char *bytes, size_t len, unsigned *code)
{
    *code = bytes[0];
    if (bytes[0] < 0x20 || bytes[0] == '"' || bytes[0] == '\\' || bytes[0] == 0x7f)
        return 1;
    if ((bytes[0] != 0xe2 && bytes[0] != 0xef) || len < 3)
        return 0;
    *code = sockjs_code_point(bytes);
    return sockjs_is_fragile(*code) ? 3 : 0;
}

static void sockjs_append_escape(struct buf *to, unsigned code)
{
    static const char shorts[128] = {
        ['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\b'] = 'b', ['\f'] = 'f'};
    char escape[8];
    if (code < sizeof(shorts) && shorts[code])
        snprintf(escape, sizeof(escape), "\\%c", shorts[code]);
    else
        snprintf(escape, sizeof(escape), "\\u%04x", code);
    buf_append_text(to, escape);
}

void render_sockjs_string(struct buf *to, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes;
    size_t plain = 0;
    buf_append_char(to, '"');
    for (size_t i = 0; i < len;) {
        unsigned code;
        size_t escaped =
            at[i] < 0x80 || at[i] == 0xe2 || at[i] == 0xef ? sockjs_find_escape(at + i, len - i, &code) : 0;
        if (escaped == 0) {
            i++;
            continue;
        }
        buf_append(to, bytes + plain, i - plain);
        sockjs_append_escape(to, code);
        i += escaped;
        plain = i;
    }
    buf_append(to, bytes + plain, len - plain);
    buf_append_char(to, '"');
}

struct rendering *render_sockjs_command(const struct message *message, struct text channel,
                                        const struct epoch *epoch)
{
    struct buf object = {0};
    struct buf payload = {0};
    buf_append_text(&object, "{\"op\":\"message\",");
    render_json_members(&object, message, channel, epoch);
    buf_append_char(&object, '}');
    payload.has_failed = object.has_failed;
    if (!object.has_failed)
        render_sockjs_string(&payload, object.bytes, object.len);
    buf_deinit(&object);
    return render_finish_plain(&payload, 0);
}

struct rendering *render_sockjs_data(const struct message *message, struct text channel,
                                     const struct epoch *epoch)
{
    struct buf payload = {0};
    (void)channel; /* the data alone */
    (void)epoch;
    if (message->type == MESSAGE_BINARY) {
        buf_append_char(&payload, '"');
        render_base64(&payload, message_data(message), message->size);
        buf_append_char(&payload, '"');
    } else {
        render_sockjs_string(&payload, message_data(message), message->size);
    }
    return render_finish_plain(&payload, 0);
}
