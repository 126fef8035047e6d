/* SPDX-License-Identifier: MIT */
#pragma once

/* Sends messages to a server and listens to them in every way at once, through whatever stands between; what
 * came when is in the ways. One thread. */

#include "check_network/http_way.h"
#include "check_network/websocket_way.h"

#define CHECK_HTTP_WAYS 3u
/* A server says its cursor at once: what has not opened by then is held back on its way. */
#define CHECK_OPENING_MS 3000u
#define CHECK_MARK_MAX 24u
#define CHECK_MESSAGES 10u
#define CHECK_LAST CHECK_MESSAGES /* the number of the one at the end */

/* One message: every second one goes by WebSocket where that is open, the others by POST. */
struct check_publish {
    struct request request;
    uint64_t begun_ns;    /* 0: it was not sent */
    uint64_t answered_ns; /* 0: not accepted, or sent by WebSocket */
    bool is_by_websocket;
    char fault[WAY_FAULT_MAX];
};

struct check {
    const struct check_order *order;
    char mark[CHECK_MARK_MAX];
    CURLM *multi;
    struct http_way http[CHECK_HTTP_WAYS];
    struct websocket_way websocket;
    struct check_publish published[CHECK_MESSAGES + 1];
    uint64_t ended_ns;
};

/* Does it all, for order->hold_ms and some seconds. Returns 0 or -ENOMEM. */
int check_run(struct check *check, const struct check_order *order);

/* Also of one that could not be run. */
void check_deinit(struct check *check);

/* The ways, one after another; NULL behind the last. */
const struct way *check_way(const struct check *check, unsigned index);
