/* SPDX-License-Identifier: MIT */
#pragma once

/* The paths of a SockJS service, and the ways to carry frames that they name. Pure; hostile input; any
 * thread. */

#include <stdbool.h>

#include "base/text.h"
#include "http/exchange.h"

/* The longest path of a session as sent, with its prefix: 255 bytes of that, and room for any identifier. */
#define SESSION_PATH_MAX 1024u
#define SESSION_ID_MAX 255u

enum carrier {
    CARRIER_XHR,
    CARRIER_XHR_STREAMING,
    CARRIER_EVENTSOURCE,
    CARRIER_HTMLFILE,
    CARRIER_JSONP,
    CARRIER_XHR_SEND,
    CARRIER_JSONP_SEND,
    CARRIER_WEBSOCKET,
    CARRIER_COUNT
};

struct carrier_row {
    const char *word;
    enum http_method method;
    bool is_legacy;
    bool is_stream;
    bool needs_callback;      /* the name of a function of the page */
    const char *content_type; /* of what is received */
    const char *head;         /* of each frame; NULL where it stands in a script */
    const char *tail;
    const char *array_end; /* of an array frame: "]" and the tail */
    const char *array_end_chunked;
};
extern const struct carrier_row carriers[CARRIER_COUNT];

struct session_path {
    enum carrier carrier;
    struct text session; /* as sent; borrowed */
    size_t prefix_len;
    char prefix[SESSION_PATH_MAX + 1]; /* of the service, decoded */
};

/* Splits PREFIX/SERVER/SESSION/CARRIER, as sent: a name may have an escaped slash in it. Of the server
 * nothing is wanted. Returns whether it is that. */
bool session_path_parse(struct session_path *path, struct text text);

/* Whether it is iframe*.html. */
bool path_is_iframe(struct text text);
