/* SPDX-License-Identifier: MIT */
/* An endless stream of JSON objects, one a line. */

#include "http/stream.h"
#include "transport/transports.h"

static void ndjson_begin_message(struct buf *to, const char *cursor, size_t cursor_len)
{
    buf_append_text(to, "{\"cursor\":\"");
    buf_append(to, cursor, cursor_len);
    buf_append_text(to, "\",");
}

static void ndjson_opening(struct buf *to, const char *cursor, size_t cursor_len, uint64_t retry_ms,
                           uint64_t padding)
{
    (void)retry_ms; /* there is no client that would read it */
    (void)padding;
    buf_append_text(to, "{\"cursor\":\"");
    buf_append(to, cursor, cursor_len);
    buf_append_text(to, "\"}\n");
}

static void ndjson_reset(struct buf *to, const char *channel, size_t channel_len, enum reset_reason reason,
                         uint64_t missed, const char *cursor, size_t cursor_len)
{
    ndjson_begin_message(to, cursor, cursor_len);
    buf_append_text(to, "\"reset\":");
    render_reset(to, channel, channel_len, reason, missed, cursor, cursor_len);
    buf_append_text(to, "}\n");
}

static void ndjson_heartbeat(struct buf *to)
{
    buf_append_char(to, '\n');
}

static void ndjson_closing(struct buf *to, uint64_t retry_ms)
{
    (void)to; /* the end of the body says it */
    (void)retry_ms;
}

static const struct stream_format ndjson_format = {
    .kind = TRANSPORT_STREAM,
    .form = FORM_JSON,
    .content_type = "application/x-ndjson",
    .render = render_json,
    .begin_message = ndjson_begin_message,
    .opening = ndjson_opening,
    .reset = ndjson_reset,
    .heartbeat = ndjson_heartbeat,
    .closing = ndjson_closing,
};

static void ndjson_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    stream_begin(exchange, wish, &ndjson_format);
}

const struct transport ndjson_transport = {
    .words = {"stream", "ndjson"},
    .types = {"application/x-ndjson", "application/ndjson", "application/jsonl"},
    .content_type = "application/x-ndjson",
    .begin = ndjson_begin,
};
