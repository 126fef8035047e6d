/* SPDX-License-Identifier: MIT */
/* Why a WebSocket is closed, one row each: name, code of the close frame (RFC 6455, section 7.4; the registry
 * at IANA), word of its counter, and the reason that the peer is told unless there is a better one: at most
 * 123 bytes. The close frames of SockJS are rows as well. The counters and docs/ERRORS.md come from this
 * table.
 */
#pragma once

#include <stdint.h>

/* `TO` is handed to ROW as it is, for tables that are made of this one. */
#define CLOSE_TABLE(ROW, TO)                                                                                 \
    ROW(TO, NORMAL, 1000, "normal", "the client has closed it")                                              \
    ROW(TO, PROTOCOL, 1002, "protocol", "this is not as RFC 6455 wants it")                                  \
    ROW(TO, UNSUPPORTED, 1003, "unsupported", "frames of this kind are not taken here")                      \
    ROW(TO, BAD_TEXT, 1007, "bad_text", "text is not UTF-8")                                                 \
    ROW(TO, POLICY, 1008, "policy", "this is not allowed here")                                              \
    ROW(TO, TOO_FRAGMENTED, 1008, "too_fragmented",                                                          \
        "a message has too many fragments (websocket-fragments)")                                            \
    ROW(TO, LATE, 1008, "late", "a message has not come whole in time (body-timeout)")                       \
    ROW(TO, TOO_LARGE, 1009, "too_large", "a message is too large (message-size)")                           \
    ROW(TO, INTERNAL, 1011, "internal", "the server failed; its log says why")                               \
    ROW(TO, SILENT, 1011, "silent", "nothing has come since two pings (websocket-ping)")                     \
    ROW(TO, RESTART, 1012, "restart", "the server stops or restarts; connect again")                         \
    ROW(TO, AGED, 1012, "aged", "it has been open for long enough (stream-life); connect again")             \
    ROW(TO, TRY_LATER, 1013, "try_later", "the server cannot do this now; connect again later")              \
    ROW(TO, CONNECTION_MEMORY, 1013, "connection_memory",                                                    \
        "what connections have sent and not fetched fills the server's memory (connection-memory)")          \
    ROW(TO, UNAUTHORIZED, 4401, "unauthorized", "the token is over; connect again with a new one")           \
    ROW(TO, FORBIDDEN, 4403, "forbidden", "the token does not allow this")                                   \
    ROW(TO, INTERRUPTED, 1002, "interrupted", "Connection interrupted")                                      \
    ROW(TO, SECOND, 2010, "second", "Another connection still open")                                         \
    ROW(TO, GO_AWAY, 3000, "go_away", "Go away!")

/* The longest reason that a close frame takes. */
#define CLOSE_REASON_MAX 123u

enum close_reason {
#define CLOSE_ENUM(to, name, code, word, text) CLOSE_##name,
    CLOSE_TABLE(CLOSE_ENUM, )
#undef CLOSE_ENUM
        CLOSE_COUNT
};

/* Static facts of a reason. Any thread. */
uint16_t close_code(enum close_reason reason);
const char *close_word(enum close_reason reason);
const char *close_text(enum close_reason reason);
