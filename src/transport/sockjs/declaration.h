/* SPDX-License-Identifier: MIT */
#pragma once

/* What the option `sockjs` says of a service: PREFIX [app=…] [feed=…] [websocket=…] [cookie=…]
 * [response-limit=BYTES] [disconnect-delay=TIME] [legacy=…] [client=URL]. See docs/SOCKJS.md. Any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "core/name_list.h"

/* What the messages of a session's client mean. */
enum sockjs_app { APP_COMMANDS, APP_ECHO, APP_CLOSE, APP_PUBLISH };

struct sockjs_declaration {
    char *prefix; /* of its paths, without a slash at the end */
    enum sockjs_app app;
    struct channel_name publish_to; /* of APP_PUBLISH */
    struct name_list feed;
    bool has_websocket;
    bool needs_cookie; /* balancers keep a client's requests together by one */
    bool is_legacy;    /* jsonp and htmlfile are there */
    uint64_t response_limit_bytes;
    uint64_t disconnect_delay_ms; /* how long a session lives without a receiver */
    char *client_url;             /* of the client's script, for the iframe page */
};

/* Parses `text`. Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence; only after 0 is there something to
 * deinit. */
int sockjs_declaration_parse(struct sockjs_declaration *declaration, const char *text,
                             char fault[PAIRS_FAULT_MAX]);
void sockjs_declaration_deinit(struct sockjs_declaration *declaration);
