/* SPDX-License-Identifier: MIT */
#pragma once

/* The ways over HTTP: Server-Sent Events, a stream of NDJSON, long-poll. Each is one transfer of the multi
 * handle at a time; a long-poll is asked again with the cursor of its last answer. One thread. */

#include <curl/curl.h>

#include "check_network/request.h"

enum http_kind { HTTP_SSE, HTTP_STREAM, HTTP_POLL };

struct http_way {
    struct way way;
    struct request request;
    CURLM *multi;
    enum http_kind kind;
    char cursor[REQUEST_CURSOR_MAX]; /* of a long-poll: from where the next one asks */
};

/* Begins it. Returns 0 or -ENOMEM; what the network does comes later, in the way. */
int http_way_begin(struct http_way *http, enum http_kind kind, const struct check_order *order,
                   const char *mark, CURLM *multi);

void http_way_end(struct http_way *http);
