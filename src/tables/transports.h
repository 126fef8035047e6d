/* SPDX-License-Identifier: MIT */
/* The ways to receive, one row each: name, word in numbers and labels, help of the gauge of those held now,
 * and which files of transport/ begin it for a request over HTTP. The first of all those is the default.
 */
#pragma once

/* `TO` is handed to ROW as it is, for tables that are made of this one. */
#define TRANSPORT_TABLE(ROW, HTTP, TO)                                                                       \
    ROW(TO, POLL, "poll", "Long-polls held now.")                                                            \
    HTTP(longpoll_raw_transport)                                                                             \
    HTTP(longpoll_json_transport)                                                                            \
    ROW(TO, SSE, "sse", "Server-Sent Events streams held now.")                                              \
    HTTP(sse_transport)                                                                                      \
    ROW(TO, STREAM, "stream", "NDJSON streams held now.")                                                    \
    HTTP(ndjson_transport)                                                                                   \
    ROW(TO, LEGACY, "legacy", "XHR, multipart and htmlfile streams and JSONP polls held now.")               \
    HTTP(xhr_transport)                                                                                      \
    HTTP(multipart_transport)                                                                                \
    HTTP(htmlfile_transport)                                                                                 \
    HTTP(longpoll_jsonp_transport)                                                                           \
    ROW(TO, TCP, "tcp", "Channels that raw TCP connections are subscribed to now.")                          \
    ROW(TO, WEBSOCKET, "websocket", "Channels that WebSockets are subscribed to now.")                       \
    HTTP(websocket_feed_transport)                                                                           \
    ROW(TO, SOCKJS, "sockjs", "Channels that SockJS sessions are subscribed to now.")

/* For those who want some of it only. */
#define TRANSPORT_NONE(...)

enum transport_kind {
#define TRANSPORT_ENUM(to, name, word, help) TRANSPORT_##name,
    TRANSPORT_TABLE(TRANSPORT_ENUM, TRANSPORT_NONE, )
#undef TRANSPORT_ENUM
        TRANSPORT_COUNT
};
