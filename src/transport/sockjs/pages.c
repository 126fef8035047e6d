/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/pages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "http/origin.h"
#include "render/script.h"
#include "transport/sockjs/receiver.h"
#include "transport/sockjs/reply.h"
#include "transport/sockjs/send.h"
#include "transport/sockjs/socket.h"

/* FNV-1a: it only has to be the same on every node, and another one for another page. */
#define TAG_OFFSET 0xcbf29ce484222325u
#define TAG_PRIME 0x100000001b3u

int pages_make_iframe(struct sockjs_service *service)
{
    struct buf *page = &service->iframe;
    uint64_t hash = TAG_OFFSET;
    buf_append_text(page, "<!DOCTYPE html>\n"
                          "<html>\n"
                          "<head>\n"
                          "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
                          "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
                          "  <script>\n"
                          "    document.domain = document.domain;\n"
                          "    _sockjs_onload = function(){SockJS.bootstrap_iframe();};\n"
                          "  </script>\n"
                          "  <script src=\"");
    buf_append_text(page, service->declaration.client_url);
    buf_append_text(page, "\"></script>\n"
                          "</head>\n"
                          "<body>\n"
                          "  <h2>Don't panic!</h2>\n"
                          "  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n"
                          "</body>\n"
                          "</html>");
    for (size_t i = 0; i < page->len; i++)
        hash = (hash ^ (unsigned char)page->bytes[i]) * TAG_PRIME;
    snprintf(service->iframe_tag, SERVICE_TAG_MAX, "\"%016" PRIx64 "\"", hash);
    return page->has_failed ? -ENOMEM : 0;
}

/* Returns whether the request has the method that its path takes; otherwise it is answered. */
static bool page_admits_method(struct exchange *exchange, enum http_method method)
{
    bool is_right = exchange->method == method;
    if (exchange->method == METHOD_OPTIONS)
        reply_options(exchange, method);
    else if (!is_right)
        reply_method(exchange, method);
    return is_right;
}

static bool page_admits_reading(struct exchange *exchange)
{
    return exchange->method == METHOD_HEAD || page_admits_method(exchange, METHOD_GET);
}

static void page_greet(struct exchange *exchange)
{
    if (!page_admits_reading(exchange))
        return;
    struct MHD_Response *response =
        exchange_response("Welcome to SockJS!\n", sizeof("Welcome to SockJS!\n") - 1, REPLY_TEXT, false);
    exchange_answer(exchange, MHD_HTTP_OK, response);
}

static void page_info(struct exchange *exchange)
{
    const struct sockjs_service *service = exchange->route->context;
    char text[128];
    if (!page_admits_reading(exchange))
        return;
    snprintf(text, sizeof(text),
             "{\"websocket\":%s,\"origins\":[\"*:*\"],\"cookie_needed\":%s,\"entropy\":%" PRIu32 "}",
             service->declaration.has_websocket ? "true" : "false",
             service->declaration.needs_cookie ? "true" : "false", (uint32_t)random_next());
    reply_text(exchange, MHD_HTTP_OK, text, "application/json; charset=UTF-8");
}

/* By this page any other reaches the service as if it were our own. Where that leads to channels, the browser
 * asks each time whether those that may have changed. */
static void page_add_iframe_headers(struct exchange *exchange, struct MHD_Response *response)
{
    const struct sockjs_service *service = exchange->route->context;
    if (sockjs_service_has_channels(service)) {
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
        origin_add_frame_policy(exchange, response);
    } else {
        reply_add_cached(response);
    }
    exchange_response_header(response, MHD_HTTP_HEADER_ETAG, service->iframe_tag);
}

static void page_iframe(struct exchange *exchange)
{
    const struct sockjs_service *service = exchange->route->context;
    const char *known = exchange_field(exchange, FIELD_IF_NONE_MATCH);
    if (!page_admits_reading(exchange))
        return;
    bool is_known = known && (strcmp(known, "*") == 0 || strstr(known, service->iframe_tag));
    /* Also where it is not sent: the length that a 304 says is that of the page. */
    struct MHD_Response *response = exchange_response(service->iframe.bytes, service->iframe.len,
                                                      is_known ? NULL : "text/html; charset=UTF-8", false);
    if (response)
        page_add_iframe_headers(exchange, response);
    exchange_answer(exchange, is_known ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response);
}

static void page_not_found(struct exchange *exchange)
{
    const struct sockjs_service *service = exchange->route->context;
    exchange_fail(exchange, ERROR_NOT_FOUND,
                  "nothing is at this path; SockJS clients are to connect to %.255s",
                  service->declaration.prefix);
}

/* Sessions. */

static void page_require_callback(struct exchange *exchange, const char *text)
{
    reply_text(exchange, MHD_HTTP_INTERNAL_SERVER_ERROR, text, REPLY_TEXT);
}

/* Older clients name it `callback`. Returns false when the request is answered. */
static bool page_read_callback(struct exchange *exchange, struct text *callback)
{
    *callback = exchange_query(exchange, "c");
    if (!callback->bytes)
        *callback = exchange_query(exchange, "callback");
    if (callback->len == 0) {
        page_require_callback(exchange, "\"callback\" parameter required\n");
        return false;
    }
    if (script_callback_is_valid(*callback))
        return true;
    page_require_callback(exchange, "invalid \"callback\" parameter: it is " SCRIPT_CALLBACK_RULE "\n");
    return false;
}

static void page_receive(struct exchange *exchange, const struct session_path *path)
{
    struct text callback = {"", 0};
    if (!carriers[path->carrier].needs_callback || page_read_callback(exchange, &callback))
        receiver_begin(exchange, exchange->route->context, path, callback);
}

/* What a session tells and takes is not for everybody's pages where it reaches channels; but a script is
 * fetched without saying whose page it is for: that is what the key `legacy` warns of. */
static bool page_refuses_origin(struct exchange *exchange, bool is_script)
{
    const struct sockjs_service *service = exchange->route->context;
    bool is_hidden = is_script && exchange->origin == ORIGIN_NONE;
    return sockjs_service_has_channels(service) && !is_hidden && origin_refuses_change(exchange);
}

static void page_session(struct exchange *exchange, const struct session_path *path)
{
    const struct carrier_row *row = &carriers[path->carrier];
    if (!page_admits_method(exchange, row->method))
        return;
    if (path->carrier == CARRIER_WEBSOCKET)
        socket_begin(exchange, exchange->route->context, false);
    else if (path->carrier == CARRIER_XHR_SEND || path->carrier == CARRIER_JSONP_SEND)
        send_begin(exchange, exchange->route->context, path);
    else
        page_receive(exchange, path);
}

static bool page_has(const struct sockjs_service *service, const struct session_path *path)
{
    const struct sockjs_declaration *declaration = &service->declaration;
    return strcmp(path->prefix, declaration->prefix) == 0 &&
           (declaration->has_websocket || path->carrier != CARRIER_WEBSOCKET) &&
           (declaration->is_legacy || !carriers[path->carrier].is_legacy);
}

static void page_raw_websocket(struct exchange *exchange)
{
    if (page_admits_method(exchange, METHOD_GET))
        socket_begin(exchange, exchange->route->context, true);
}

static void (*page_find(const struct sockjs_service *service, struct text rest))(struct exchange *)
{
    if (rest.len == 0)
        return page_greet;
    if (text_is(rest, "info"))
        return page_info;
    if (text_is(rest, "websocket") && service->declaration.has_websocket)
        return page_raw_websocket;
    return path_is_iframe(rest) ? page_iframe : NULL;
}

void pages_handle(struct exchange *exchange)
{
    const struct sockjs_service *service = exchange->route->context;
    struct session_path path;
    void (*page)(struct exchange *) = page_find(service, router_name(exchange));
    bool is_session =
        !page && session_path_parse(&path, (struct text){exchange->target, strcspn(exchange->target, "?")}) &&
        page_has(service, &path);
    bool reaches_application = is_session || page == page_raw_websocket;
    bool is_script = is_session && path.carrier == CARRIER_JSONP;
    if (reaches_application && exchange->method != METHOD_OPTIONS && page_refuses_origin(exchange, is_script))
        return;
    exchange->origin = ORIGIN_OPEN;
    if (is_session)
        page_session(exchange, &path);
    else if (page)
        page(exchange);
    else
        page_not_found(exchange);
}
