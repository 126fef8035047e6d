/* SPDX-License-Identifier: MIT */
#pragma once

/* The header fields that a request is asked for, one row each. libmicrohttpd gets no other one, so that what
 * a browser sends along costs nothing while a request is held; of its cookies it gets two: the one that
 * balancers keep clients together by (JSESSIONID), as Cookie, and the value of the one that holds a token
 * (sluice_token), as the field TOKEN_COOKIE, which no client can send itself. Any thread.
 */

#include <stddef.h>

#define FIELD_TABLE(ROW)                                                                                     \
    ROW(ACCEPT, "Accept")                                                                                    \
    ROW(AUTHORIZATION, "Authorization")                                                                      \
    ROW(CONTENT_TYPE, "Content-Type")                                                                        \
    ROW(COOKIE, "Cookie")                                                                                    \
    ROW(FETCH_SITE, "Sec-Fetch-Site")                                                                        \
    ROW(FORWARDED, "Forwarded")                                                                              \
    ROW(FORWARDED_HOST, "X-Forwarded-Host")                                                                  \
    ROW(FORWARDED_PROTO, "X-Forwarded-Proto")                                                                \
    ROW(HOST, "Host")                                                                                        \
    ROW(IDEMPOTENCY_KEY, "Idempotency-Key")                                                                  \
    ROW(IF_NONE_MATCH, "If-None-Match")                                                                      \
    ROW(LAST_EVENT_ID, "Last-Event-ID")                                                                      \
    ROW(ORIGIN, "Origin")                                                                                    \
    ROW(PREFER, "Prefer")                                                                                    \
    ROW(REQUEST_HEADERS, "Access-Control-Request-Headers")                                                   \
    ROW(SLUICE_AS, "Sluice-As")                                                                              \
    ROW(SLUICE_EVENT, "Sluice-Event")                                                                        \
    ROW(SLUICE_INFO, "Sluice-Info")                                                                          \
    ROW(SLUICE_KEY, "Sluice-Key")                                                                            \
    ROW(SLUICE_PRODUCER, "Sluice-Producer")                                                                  \
    ROW(SLUICE_STORE, "Sluice-Store")                                                                        \
    ROW(SLUICE_TTL, "Sluice-TTL")                                                                            \
    ROW(TOKEN_COOKIE, "Sluice-Token-Cookie")                                                                 \
    ROW(UPGRADE, "Upgrade")                                                                                  \
    ROW(WEBSOCKET_KEY, "Sec-WebSocket-Key")                                                                  \
    ROW(WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol")                                                        \
    ROW(WEBSOCKET_VERSION, "Sec-WebSocket-Version")

enum exchange_field {
#define FIELD_ENUM(name, text) FIELD_##name,
    FIELD_TABLE(FIELD_ENUM)
#undef FIELD_ENUM
        FIELD_COUNT
};

/* The field of that name in any case; FIELD_COUNT when it is none of these. */
enum exchange_field field_find(const char *name, size_t len);
