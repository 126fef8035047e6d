/* SPDX-License-Identifier: MIT */
/* Every error that a client can get, one row each: name, HTTP status, code on the wire, what it means.
 * The answers, docs/ERRORS.md and the counters come from this table.
 */
#pragma once

#include <stdint.h>

#define ERROR_TABLE(ROW)                                                                                     \
    ROW(BAD_REQUEST, 400, "bad-request", "The request is not HTTP as RFC 9112 wants it.")                    \
    ROW(TLS_WANTED, 400, "tls-wanted", "This port speaks TLS, and the connection began without it.")         \
    ROW(BAD_PATH, 400, "bad-path", "The path has a broken percent escape or a NUL byte.")                    \
    ROW(TOO_MANY_ARGUMENTS, 400, "too-many-arguments", "The query has more than 256 arguments.")             \
    ROW(BAD_CHANNEL, 400, "bad-channel", "The channel name is too long or out of the alphabet.")             \
    ROW(TOO_MANY_TREES, 400, "too-many-trees",                                                               \
        "More than 8 of the channels above this one are trees; nothing can be published so deep.")           \
    ROW(TOO_MANY_CHANNELS, 400, "too-many-channels",                                                         \
        "A subscription names more than 64 channels, or a connection has more than it may.")                 \
    ROW(BAD_CURSOR, 400, "bad-cursor", "The cursor cannot be parsed.")                                       \
    ROW(BAD_OPTION, 400, "bad-option", "A query parameter or header has a value that is not allowed.")       \
    ROW(BAD_JSON, 400, "bad-json", "The body is not JSON; the message names line and column.")               \
    ROW(BAD_TEXT, 400, "bad-text", "Text is not UTF-8.")                                                     \
    ROW(BAD_COMMAND, 400, "bad-command", "A command does not have the right form.")                          \
    ROW(BAD_BATCH, 400, "bad-batch", "A batch or one of its messages does not have the right form.")         \
    ROW(NO_TOKEN, 401, "no-token", "This needs a token or a key, and none is given.")                        \
    ROW(BAD_TOKEN, 401, "bad-token",                                                                         \
        "The token does not have the form of one that is signed for this server.")                           \
    ROW(BAD_SIGNATURE, 401, "bad-signature",                                                                 \
        "No key in force has signed the token, or it is no publisher key here.")                             \
    ROW(TOKEN_EXPIRED, 401, "token-expired", "The token's time is over (exp).")                              \
    ROW(TOKEN_NOT_YET, 401, "token-not-yet", "The token's time has not come (nbf, iat).")                    \
    ROW(WRONG_AUDIENCE, 401, "wrong-audience", "The token is for others (aud is not jwt-audience).")         \
    ROW(WRONG_ISSUER, 401, "wrong-issuer", "The token is from others (iss is not jwt-issuer).")              \
    ROW(TOKEN_REVOKED, 401, "token-revoked", "The token has been revoked.")                                  \
    ROW(TOO_MANY_TOKENS, 401, "too-many-tokens",                                                             \
        "Three tokens one after the other were refused, which ends the connection: connect with a good "     \
        "one.")                                                                                              \
    ROW(FORBIDDEN_CHANNEL, 403, "forbidden-channel",                                                         \
        "The token, or the channel's rules, do not give this right on this channel.")                        \
    ROW(RESERVED_CHANNEL, 403, "reserved-channel",                                                           \
        "Segments of channel names that begin with $ are the server's own: nobody else publishes there.")    \
    ROW(FORBIDDEN_ADMIN, 403, "forbidden-admin", "This is for tokens of administrators.")                    \
    ROW(FORBIDDEN_ORIGIN, 403, "forbidden-origin", "The page's origin may not publish here.")                \
    ROW(NOT_FOUND, 404, "not-found", "Nothing is at this path.")                                             \
    ROW(NO_CHANNEL, 404, "no-such-channel", "Nobody uses this channel, and nothing of it is kept.")          \
    ROW(NO_PRESENCE, 404, "no-presence", "Who is in this channel is not known: its option presence is no.")  \
    ROW(NO_SESSION, 404, "no-such-session", "There is no SockJS session of this name, or not any more.")     \
    ROW(METHOD, 405, "method-not-allowed", "The method is not for this path; Allow lists what is.")          \
    ROW(NOT_ACCEPTABLE, 406, "not-acceptable", "There is no such way to receive.")                           \
    ROW(ALREADY_SUBSCRIBED, 409, "already-subscribed", "The connection is subscribed to this channel.")      \
    ROW(UNSUBSCRIBED, 409, "unsubscribed",                                                                   \
        "The channels were unsubscribed before their subscription was in place.")                            \
    ROW(HEAD_TIMEOUT, 408, "head-timeout", "The request head did not arrive in time.")                       \
    ROW(BODY_TIMEOUT, 408, "body-timeout", "The request body, or a frame, did not arrive in time.")          \
    ROW(TOO_LARGE, 413, "too-large",                                                                         \
        "The body is larger than message-size, or that of a batch than batch-size.")                         \
    ROW(MEDIA_TYPE, 415, "unsupported-media-type", "A body of this type cannot be published.")               \
    ROW(TARGET_TOO_LONG, 414, "target-too-long",                                                             \
        "The request's first line is longer than a whole head may be (head-size).")                          \
    ROW(WRONG_HOST, 421, "wrong-host",                                                                       \
        "Host is no name of this server; the option allowed-hosts has its names.")                           \
    ROW(UPGRADE_REQUIRED, 426, "upgrade-required",                                                           \
        "This is for WebSockets, of version 13; Upgrade and Sec-WebSocket-Version say so.")                  \
    ROW(HEAD_TOO_LARGE, 431, "head-too-large", "The request head is larger than head-size.")                 \
    ROW(INTERNAL, 500, "internal", "The server failed; its log says why.")                                   \
    ROW(OUT_OF_MEMORY, 503, "out-of-memory", "The server has no memory for this now.")                       \
    ROW(MEMORY_LIMIT, 503, "memory-limit", "Messages of channels in use fill the memory limit.")             \
    ROW(TOO_MANY_REVOKED, 503, "too-many-revoked",                                                           \
        "As many tokens are revoked as are kept; change the key that they are signed with.")                 \
    ROW(CHANNEL_LIMIT, 503, "channel-limit",                                                                 \
        "The server has all the channels that it may; this would be a new one.")                             \
    ROW(BRIDGED, 409, "bridged-channel",                                                                     \
        "This channel is bridged from Redis PUBLISH, which carries data only: no event, producer, ttl or "   \
        "key.")                                                                                              \
    ROW(BROKER_DOWN, 503, "broker-down",                                                                     \
        "The broker does not answer now; repeat the request, a publish with its Idempotency-Key.")           \
    ROW(BROKER_FULL, 503, "broker-full", "Redis has reached its maxmemory.")                                 \
    ROW(BROKER_REFUSED, 503, "broker-refused",                                                               \
        "Redis refused it; the server's log says why and what to do.")                                       \
    ROW(CONNECT_RATE, 429, "connect-rate", "This address connects more often than it may.")                  \
    ROW(SUBSCRIBE_RATE, 429, "subscribe-rate",                                                               \
        "This address, token or channel has more subscriptions a second than it may.")                       \
    ROW(PUBLISH_RATE, 429, "publish-rate",                                                                   \
        "This address, token or channel has more messages a second published than it may.")                  \
    ROW(PRESENCE_RATE, 429, "presence-rate",                                                                 \
        "The connection changes its name or what is known of it more often than it may.")                    \
    ROW(TOO_MANY_CONNECTIONS, 503, "too-many-connections", "The server holds all the connections it may.")   \
    ROW(TOO_MANY_FROM_ADDRESS, 503, "too-many-from-address",                                                 \
        "This address holds all the connections, or SockJS sessions, it may.")                               \
    ROW(TOO_MANY_SESSIONS, 503, "too-many-sessions", "The server holds all the SockJS sessions it may.")     \
    ROW(CONNECTION_MEMORY, 503, "connection-memory",                                                         \
        "What connections have sent and not fetched fills the memory for it; try again later.")              \
    ROW(NO_DESCRIPTORS, 503, "no-descriptors", "The process has no descriptor left.")                        \
    ROW(SESSION_FULL, 503, "session-full",                                                                   \
        "The SockJS session has more to tell than its response-limit; fetch that first.")                    \
    ROW(STOPPING, 503, "stopping", "The server is stopping.")

/* When nobody knows when it is over. */
#define ERROR_RETRY_AFTER_S 2

enum error_code {
    ERROR_NONE,
#define ERROR_ENUM(name, status, code, text) ERROR_##name,
    ERROR_TABLE(ERROR_ENUM)
#undef ERROR_ENUM
        ERROR_COUNT
};

/* Static facts of an error; `code` is not ERROR_NONE. Any thread. */
unsigned error_status(enum error_code code);
const char *error_name(enum error_code code);
const char *error_text(enum error_code code);

/* Seconds after which it may be tried again: `known_s` where that is not 0, else ERROR_RETRY_AFTER_S of what
 * is the server's (5xx), else 0. */
uint32_t error_retry_after_s(enum error_code code, uint32_t known_s);
