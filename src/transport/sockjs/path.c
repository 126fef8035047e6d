/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/path.h"

#include "base/percent.h"

#define SCRIPT "application/javascript; charset=UTF-8"

#define CARRIER_FRAME(before, behind)                                                                        \
    .head = (before), .tail = behind, .array_end = "]" behind, .array_end_chunked = "]" behind "\r\n"

const struct carrier_row carriers[CARRIER_COUNT] = {
    [CARRIER_XHR] = {.word = "xhr", .method = METHOD_POST, .content_type = SCRIPT, CARRIER_FRAME("", "\n")},
    [CARRIER_XHR_STREAMING] = {.word = "xhr_streaming",
                               .method = METHOD_POST,
                               .is_stream = true,
                               .content_type = SCRIPT,
                               CARRIER_FRAME("", "\n")},
    [CARRIER_EVENTSOURCE] = {.word = "eventsource",
                             .method = METHOD_GET,
                             .is_stream = true,
                             .content_type = "text/event-stream; charset=UTF-8",
                             CARRIER_FRAME("data: ", "\r\n\r\n")},
    [CARRIER_HTMLFILE] = {.word = "htmlfile",
                          .method = METHOD_GET,
                          .is_legacy = true,
                          .is_stream = true,
                          .needs_callback = true,
                          .content_type = "text/html; charset=UTF-8"},
    [CARRIER_JSONP] = {.word = "jsonp",
                       .method = METHOD_GET,
                       .is_legacy = true,
                       .needs_callback = true,
                       .content_type = SCRIPT},
    [CARRIER_XHR_SEND] = {.word = "xhr_send", .method = METHOD_POST},
    [CARRIER_JSONP_SEND] = {.word = "jsonp_send", .method = METHOD_POST, .is_legacy = true},
    [CARRIER_WEBSOCKET] = {.word = "websocket", .method = METHOD_GET, CARRIER_FRAME("", "")},
};

/* Cuts off what stands behind the last slash, and that. Returns false where there is none. */
static bool path_cut_last(struct text *path, struct text *segment)
{
    const char *slash = memrchr(path->bytes, '/', path->len);
    if (!slash)
        return false;
    *segment = text_behind(*path, (size_t)(slash - path->bytes) + 1);
    path->len = (size_t)(slash - path->bytes);
    return true;
}

static bool path_is_name(struct text segment)
{
    return segment.len > 0 && segment.len <= SESSION_ID_MAX && !memchr(segment.bytes, '.', segment.len);
}

bool session_path_parse(struct session_path *path, struct text text)
{
    struct text word;
    struct text server;
    if (text.len > SESSION_PATH_MAX || !path_cut_last(&text, &word) ||
        !path_cut_last(&text, &path->session) || !path_cut_last(&text, &server) ||
        !path_is_name(path->session) || !path_is_name(server) ||
        percent_decode(path->prefix, &path->prefix_len, text.bytes, text.len))
        return false;
    for (unsigned i = 0; i < CARRIER_COUNT; i++) {
        path->carrier = (enum carrier)i;
        if (text_is(word, carriers[i].word))
            return true;
    }
    return false;
}

bool path_is_iframe(struct text text)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
    const size_t end_len = sizeof(".html") - 1;
    if (!text_begins(text, "iframe") || !text_ends(text, ".html") || text.len < sizeof("iframe.html") - 1)
        return false;
    for (size_t i = 0; i < text.len - end_len; i++)
        if (!memchr(alphabet, text.bytes[i], sizeof(alphabet) - 1))
            return false;
    return true;
}
