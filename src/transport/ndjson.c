/* SPDX-License-Identifier: MIT */
/* An endless stream of JSON objects, one a line. */

#include "base/clock.h"
#include "http/stream.h"
#include "transport/transports.h"

/* No client would read for how long it shall wait. */
static void ndjson_opening(struct buf *to, const struct stream_opening *opening)
{
    render_json_opening(to, opening->cursor, opening->is_recovered);
    buf_append_char(to, '\n');
}

static void ndjson_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                         struct text cursor)
{
    render_json_reset(to, channel, reason, missed, cursor);
    buf_append_char(to, '\n');
}

static void ndjson_heartbeat(struct buf *to)
{
    buf_append_char(to, '\n');
}

/* For readers that take each line for an object. */
static void ndjson_heartbeat_line(struct buf *to)
{
    buf_append_text(to, "{\"heartbeat\":");
    buf_append_u64(to, (uint64_t)clock_wall_ms());
    buf_append_text(to, "}\n");
}

#define NDJSON_FORMAT(beat)                                                                                  \
    {                                                                                                        \
        .transport = &ndjson_transport, .kind = TRANSPORT_STREAM, .form = FORM_JSON, .render = render_json,  \
        .begin_message = render_json_cursor, .opening = ndjson_opening, .reset = ndjson_reset,               \
        .heartbeat = (beat),                                                                                 \
    }

static const struct stream_format ndjson_format = NDJSON_FORMAT(ndjson_heartbeat);
static const struct stream_format ndjson_format_of_objects = NDJSON_FORMAT(ndjson_heartbeat_line);

static void ndjson_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    stream_begin(exchange, wish, wish->wants_objects ? &ndjson_format_of_objects : &ndjson_format);
}

const struct transport ndjson_transport = {
    .words = {"stream", "ndjson"},
    .types = {"application/x-ndjson", "application/ndjson", "application/jsonl"},
    .content_type = "application/x-ndjson",
    .begin = ndjson_begin,
};
