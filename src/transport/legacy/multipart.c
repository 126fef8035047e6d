/* SPDX-License-Identifier: MIT */
/* A stream of parts of which each takes the place of the one before it (multipart/x-mixed-replace): an <img>
 * shows what is published.
 *
 * A browser shows a part once the next one begins: so the next boundary follows the data at once, and the
 * stream always stands among the fields of the part that comes next. What else there is to say are such
 * fields: a part of its own would take the place of the picture. */

#include <string.h>

#include "base/clock.h"
#include "http/stream.h"
#include "transport/transports.h"

static void multipart_opening(struct buf *to, const struct stream_opening *opening)
{
    buf_append_text(to, "--" RENDER_MULTIPART_BOUNDARY "\r\n");
    render_multipart_cursor(to, opening->cursor);
    buf_append_text(to, opening->is_recovered ? "Sluice-Recovered: true\r\n" : "Sluice-Recovered: false\r\n");
    if (opening->completeness != COMPLETENESS_PLAIN)
        buf_append_text(to, opening->completeness == COMPLETENESS_WHOLE ? "Sluice-Complete: true\r\n"
                                                                        : "Sluice-Complete: false\r\n");
}

static void multipart_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                            struct text cursor)
{
    render_multipart_cursor(to, cursor);
    buf_append_text(to, "Sluice-Reset: ");
    render_reset_item(to, channel, reason, missed);
    buf_append_text(to, "\r\n");
}

/* Before the first boundary only empty lines mean nothing to everybody. */
static void multipart_heartbeat(struct buf *to, bool is_open)
{
    if (is_open) {
        buf_append_text(to, "Sluice-Heartbeat: ");
        buf_append_u64(to, (uint64_t)clock_wall_ms());
    }
    buf_append_text(to, "\r\n");
}

/* A field like all else; JSON without a line's end is as good there as in a body. */
static void multipart_error(struct buf *to, enum error_code why, struct text json)
{
    (void)why; /* the object says it */
    buf_append_text(to, "Sluice-Error: ");
    buf_append(to, json.bytes, json.len);
    buf_append_text(to, "\r\n");
}

#define MULTIPART_FORMAT(form_of, render_by)                                                                 \
    {                                                                                                        \
        .transport = &multipart_transport, .kind = TRANSPORT_LEGACY, .form = (form_of),                      \
        .render = (render_by), .begin_message = render_multipart_cursor, .opening = multipart_opening,       \
        .reset = multipart_reset, .heartbeat = multipart_heartbeat, .error = multipart_error,                \
    }

static const struct stream_format multipart_format = MULTIPART_FORMAT(FORM_MULTIPART, render_multipart);
static const struct stream_format multipart_picture_format =
    MULTIPART_FORMAT(FORM_MULTIPART_PICTURE, render_multipart_picture);

/* Browsers say of an <img> that they want images. */
static bool multipart_is_picture(const struct exchange *exchange)
{
    const char *accept = exchange_field(exchange, FIELD_ACCEPT);
    return accept && strstr(accept, "image/");
}

static void multipart_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    stream_begin(exchange, wish,
                 multipart_is_picture(exchange) ? &multipart_picture_format : &multipart_format);
}

/* Who opens it as a page may be shown HTML that somebody has published: nothing of it runs as ours. */
const struct transport multipart_transport = {
    .words = {"multipart"},
    .content_type = "multipart/x-mixed-replace; boundary=" RENDER_MULTIPART_BOUNDARY,
    .policy = "sandbox; default-src 'none'",
    .is_for_embedding = true,
    .begin = multipart_begin,
};
