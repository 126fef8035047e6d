/* SPDX-License-Identifier: MIT */
/* A forever iframe: a page that never ends, in which each message is a script that calls a function of the
 * page around it. Only pages of the same origin can be called: document.domain is left as it is. */

#include "base/clock.h"
#include "base/number.h"
#include "http/stream.h"
#include "render/script.h"
#include "transport/transports.h"

/* Browsers have not run anything of a page before they had so much of it. */
#define HTMLFILE_PADDING_BYTES 1024u

/* A script that has run leaves the page, which would grow for ever otherwise. */
static void htmlfile_append_page(struct buf *to, struct text callback, uint64_t padding)
{
    buf_append_text(to,
                    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sluice</title>"
                    "</head><body>\n<script>function p(m){var s=document.getElementsByTagName(\"script\");"
                    "s=s[s.length-1];s.parentNode.removeChild(s);parent.");
    buf_append(to, callback.bytes, callback.len);
    buf_append_text(to, "(m)}</script>\n");
    buf_append_padding(to, number_greater(padding, HTMLFILE_PADDING_BYTES));
    buf_append_char(to, '\n');
}

static void htmlfile_append_json(struct buf *to, struct buf *json)
{
    render_htmlfile_call(to, json->bytes, json->len);
    to->has_failed = to->has_failed || json->has_failed;
    buf_deinit(json);
}

static void htmlfile_opening(struct buf *to, const struct stream_opening *opening)
{
    struct buf json = {0};
    htmlfile_append_page(to, exchange_query(opening->exchange, "callback"), opening->padding);
    render_json_opening(&json, opening->cursor, opening->is_recovered, opening->completeness);
    htmlfile_append_json(to, &json);
}

static void htmlfile_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                           struct text cursor)
{
    struct buf json = {0};
    render_json_reset(&json, channel, reason, missed, cursor);
    htmlfile_append_json(to, &json);
}

static void htmlfile_heartbeat(struct buf *to, bool is_open)
{
    (void)is_open; /* white space means nothing anywhere */
    buf_append_char(to, '\n');
}

static void htmlfile_heartbeat_call(struct buf *to, bool is_open)
{
    if (!is_open) {
        htmlfile_heartbeat(to, is_open);
        return;
    }
    buf_append_text(to, "<script>p({\"heartbeat\":");
    buf_append_u64(to, (uint64_t)clock_wall_ms());
    buf_append_text(to, "}" RENDER_HTMLFILE_END);
}

static void htmlfile_error(struct buf *to, enum error_code why, struct text json)
{
    (void)why; /* the object says it */
    render_htmlfile_call(to, json.bytes, json.len);
}

#define HTMLFILE_FORMAT(beat)                                                                                \
    {                                                                                                        \
        .transport = &htmlfile_transport, .kind = TRANSPORT_LEGACY, .form = FORM_HTMLFILE,                   \
        .render = render_htmlfile, .begin_message = render_htmlfile_begin, .opening = htmlfile_opening,      \
        .reset = htmlfile_reset, .heartbeat = (beat), .error = htmlfile_error,                               \
    }

static const struct stream_format htmlfile_format = HTMLFILE_FORMAT(htmlfile_heartbeat);
static const struct stream_format htmlfile_format_of_objects = HTMLFILE_FORMAT(htmlfile_heartbeat_call);

static void htmlfile_begin(struct exchange *exchange, const struct subscription_wish *wish)
{
    stream_begin(exchange, wish, wish->wants_objects ? &htmlfile_format_of_objects : &htmlfile_format);
}

static void htmlfile_call(struct buf *to, struct text callback, struct text json)
{
    htmlfile_append_page(to, callback, 0);
    render_htmlfile_call(to, json.bytes, json.len);
}

const struct transport htmlfile_transport = {
    .words = {"htmlfile"},
    .content_type = "text/html; charset=utf-8",
    .policy = "default-src 'none'; script-src 'unsafe-inline'; frame-ancestors 'self'",
    .call = htmlfile_call,
    .begin = htmlfile_begin,
};
