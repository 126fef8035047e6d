/* SPDX-License-Identifier: MIT */
/* Server-Sent Events: section 9.2 of the HTML standard. */

#include <string.h>

#include "http/stream.h"
#include "transport/transports.h"

/* Nothing but a finished event is followed by an empty line: to some libraries each one is an event, with
 * data or without. What stands before an event rides in its block, and what stands behind the last one needs
 * none. */

static void sse_append_retry(struct buf *to, uint64_t retry_ms)
{
    buf_append_text(to, "retry: ");
    buf_append_u64(to, retry_ms);
    buf_append_char(to, '\n');
}

static void sse_append_id(struct buf *to, struct text cursor)
{
    buf_append_text(to, "id: ");
    buf_append(to, cursor.bytes, cursor.len);
    buf_append_char(to, '\n');
}

static void sse_append_padding(struct buf *to, uint64_t padding)
{
    buf_append_char(to, ':');
    buf_append_padding(to, padding);
    buf_append_char(to, '\n');
}

/* The id is remembered: a client that reconnects before the first message misses none. */
static void sse_opening(struct buf *to, const struct stream_opening *opening)
{
    if (opening->padding > 0)
        sse_append_padding(to, opening->padding);
    sse_append_retry(to, opening->retry_ms);
    sse_append_id(to, opening->cursor);
    buf_append_text(to, "event: subscribed\ndata: {\"cursor\":\"");
    buf_append(to, opening->cursor.bytes, opening->cursor.len);
    buf_append_text(to, "\",");
    render_recovery(to, opening->is_recovered, opening->completeness);
    buf_append_text(to, "}\n\n");
}

static void sse_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                      struct text cursor)
{
    sse_append_id(to, cursor);
    buf_append_text(to, "event: reset\ndata: ");
    render_reset(to, channel, reason, missed, cursor);
    buf_append_text(to, "\n\n");
}

static void sse_heartbeat(struct buf *to, bool is_open)
{
    (void)is_open; /* a comment may stand anywhere */
    buf_append_text(to, ":\n");
}

/* Browsers connect again, and learn by the status of that answer whether a new token has come meanwhile. */
static void sse_error(struct buf *to, enum error_code why, struct text json)
{
    buf_append_text(to, why == ERROR_STOPPING ? "event: stopping\ndata: " : "event: expired\ndata: ");
    buf_append(to, json.bytes, json.len);
    buf_append_text(to, "\n\n");
}

#define SSE_FORMAT(kept, renderer)                                                                           \
    {                                                                                                        \
        .transport = &sse_transport, .kind = TRANSPORT_SSE, .form = kept, .render = renderer,                \
        .begin_message = sse_append_id, .opening = sse_opening, .reset = sse_reset,                          \
        .heartbeat = sse_heartbeat, .error = sse_error,                                                      \
    }

static const struct stream_format sse_format = SSE_FORMAT(FORM_SSE, render_sse);
static const struct stream_format sse_format_of_objects = SSE_FORMAT(FORM_SSE_JSON, render_sse_json);

static void sse_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    const struct text format = exchange_query(exchange, "format");
    bool is_json = text_is(format, "json");
    if (format.bytes && !is_json && !text_is(format, "raw"))
        exchange_fail(exchange, ERROR_BAD_OPTION, "format must be raw or json");
    else
        stream_begin(exchange, wish, is_json ? &sse_format_of_objects : &sse_format);
}

const struct transport sse_transport = {
    .words = {"sse"},
    .types = {"text/event-stream"},
    .content_type = "text/event-stream",
    .come_back = sse_append_retry,
    .begin = sse_begin,
};
