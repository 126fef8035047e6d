/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/router.h"

#define YEAR_S 31536000
#define YEAR_TEXT "31536000"

void reply_add_not_cached(struct MHD_Response *response)
{
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                                 "no-store, no-cache, no-transform, must-revalidate, max-age=0");
}

void reply_add_cached(struct MHD_Response *response)
{
    char expires[64];
    struct tm parts;
    time_t then = time(NULL) + YEAR_S;
    if (!response || !gmtime_r(&then, &parts) ||
        strftime(expires, sizeof(expires), "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0)
        return;
    exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "public, max-age=" YEAR_TEXT);
    exchange_response_header(response, MHD_HTTP_HEADER_EXPIRES, expires);
}

void reply_add_cookie(const struct exchange *exchange, const struct sockjs_service *service,
                      struct MHD_Response *response)
{
    char text[256];
    const char *cookie = exchange_field(exchange, FIELD_COOKIE);
    if (!response || !service->declaration.needs_cookie)
        return;
    snprintf(text, sizeof(text), "%.200s; Path=/", cookie ? cookie : "JSESSIONID=dummy");
    exchange_response_header(response, MHD_HTTP_HEADER_SET_COOKIE, text);
}

void reply_text(struct exchange *exchange, unsigned status, const char *text, const char *type)
{
    struct MHD_Response *response = exchange_response(text, strlen(text), type, false);
    reply_add_not_cached(response);
    exchange_answer(exchange, status, response);
}

static void reply_format_allow(enum http_method method, char allow[static 32])
{
    snprintf(allow, 32, "OPTIONS, %s", router_method_name(method));
}

void reply_options(struct exchange *exchange, enum http_method method)
{
    char allow[32];
    struct MHD_Response *response = exchange_response("", 0, NULL, false);
    reply_format_allow(method, allow);
    reply_add_cached(response);
    if (response) {
        exchange_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
        exchange_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, allow);
        exchange_response_header(response, "Access-Control-Max-Age", YEAR_TEXT);
    }
    exchange_answer(exchange, MHD_HTTP_NO_CONTENT, response);
}

void reply_method(struct exchange *exchange, enum http_method method)
{
    char allow[32];
    struct MHD_Response *response = exchange_response("", 0, NULL, false);
    reply_format_allow(method, allow);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    exchange_answer(exchange, MHD_HTTP_METHOD_NOT_ALLOWED, response);
}
