/* SPDX-License-Identifier: MIT */
/* An endless stream of JSON objects, one a line; and the same for an XMLHttpRequest, which reads while it
 * loads (readyState 3). */

#include "base/clock.h"
#include "base/number.h"
#include "http/stream.h"
#include "transport/transports.h"

/* Browsers have kept back what is shorter from who reads while it loads. */
#define XHR_PRELUDE_BYTES 2048u

/* No client would read for how long it shall wait. */
static void ndjson_opening(struct buf *to, const struct stream_opening *opening)
{
    render_json_opening(to, opening->cursor, opening->is_recovered, opening->completeness);
    buf_append_char(to, '\n');
}

/* White space may stand before any JSON: the line is an object all the same. */
static void xhr_opening(struct buf *to, const struct stream_opening *opening)
{
    buf_append_padding(to, number_greater(opening->padding, XHR_PRELUDE_BYTES));
    ndjson_opening(to, opening);
}

static void ndjson_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                         struct text cursor)
{
    render_json_reset(to, channel, reason, missed, cursor);
    buf_append_char(to, '\n');
}

static void ndjson_heartbeat(struct buf *to, bool is_open)
{
    (void)is_open; /* an empty line means nothing anywhere */
    buf_append_char(to, '\n');
}

/* For readers that take each line for an object. */
static void ndjson_heartbeat_line(struct buf *to, bool is_open)
{
    (void)is_open;
    buf_append_text(to, "{\"heartbeat\":");
    buf_append_u64(to, (uint64_t)clock_wall_ms());
    buf_append_text(to, "}\n");
}

static void ndjson_error(struct buf *to, enum error_code why, struct text json)
{
    (void)why; /* the object says it */
    buf_append(to, json.bytes, json.len);
    buf_append_char(to, '\n');
}

#define NDJSON_FORMAT(of, kind_of, open_with, beat)                                                          \
    {                                                                                                        \
        .transport = &(of), .kind = (kind_of), .form = FORM_JSON, .render = render_json,                     \
        .begin_message = render_json_cursor, .opening = (open_with), .reset = ndjson_reset,                  \
        .heartbeat = (beat), .error = ndjson_error,                                                          \
    }

static const struct stream_format ndjson_format =
    NDJSON_FORMAT(ndjson_transport, TRANSPORT_STREAM, ndjson_opening, ndjson_heartbeat);
static const struct stream_format ndjson_format_of_objects =
    NDJSON_FORMAT(ndjson_transport, TRANSPORT_STREAM, ndjson_opening, ndjson_heartbeat_line);
static const struct stream_format xhr_format =
    NDJSON_FORMAT(xhr_transport, TRANSPORT_LEGACY, xhr_opening, ndjson_heartbeat);
static const struct stream_format xhr_format_of_objects =
    NDJSON_FORMAT(xhr_transport, TRANSPORT_LEGACY, xhr_opening, ndjson_heartbeat_line);

static void ndjson_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    stream_begin(exchange, wish, wish->wants_objects ? &ndjson_format_of_objects : &ndjson_format);
}

static void xhr_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    stream_begin(exchange, wish, wish->wants_objects ? &xhr_format_of_objects : &xhr_format);
}

const struct transport ndjson_transport = {
    .words = {"stream", "ndjson"},
    .types = {"application/x-ndjson", "application/ndjson", "application/jsonl"},
    .content_type = "application/x-ndjson",
    .begin = ndjson_begin,
};

/* Text that says its charset is what browsers and what stands before them pass on while it comes. */
const struct transport xhr_transport = {
    .words = {"xhr"},
    .content_type = "text/plain; charset=utf-8",
    .begin = xhr_begin,
};
