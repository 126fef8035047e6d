/* SPDX-License-Identifier: MIT */
#include "http/origin.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define ORIGIN_HOST_MAX 256u

/* The host of host:port or [v6]:port, without the brackets. */
static bool origin_host(const char *authority, char host[ORIGIN_HOST_MAX])
{
    const char *begin = authority[0] == '[' ? authority + 1 : authority;
    size_t len = strcspn(begin, authority[0] == '[' ? "]" : ":");
    if (len >= ORIGIN_HOST_MAX)
        return false;
    memcpy(host, begin, len);
    host[len] = '\0';
    return true;
}

/* A name that anybody can make point here (DNS rebinding) does not make a page the server's own. */
static bool origin_host_is_certain(const struct exchange *exchange, const char *authority)
{
    char host[ORIGIN_HOST_MAX];
    struct in6_addr address;
    if (exchange->shard->options->anonymous)
        return true;
    return origin_host(authority, host) &&
           (strcasecmp(host, "localhost") == 0 || inet_pton(AF_INET, host, &address) == 1 ||
            inet_pton(AF_INET6, host, &address) == 1);
}

static bool origin_is_own(const struct exchange *exchange, const char *origin)
{
    const char *host = exchange_field(exchange, FIELD_HOST);
    const char *authority = strstr(origin, "://");
    return host && authority && strcasecmp(authority + 3, host) == 0 &&
           origin_host_is_certain(exchange, host);
}

static bool origin_is_listed(const struct exchange *exchange, const char *origin)
{
    const struct string_list *list = &exchange->shard->options->allowed_origins;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], "*") == 0 || strcasecmp(list->items[i], origin) == 0)
            return true;
    return false;
}

enum origin_verdict origin_judge(struct exchange *exchange)
{
    const char *origin = exchange_field(exchange, FIELD_ORIGIN);
    exchange->origin = !origin ? ORIGIN_NONE
                       : origin_is_own(exchange, origin) || origin_is_listed(exchange, origin)
                           ? ORIGIN_ALLOWED
                           : ORIGIN_FOREIGN;
    return exchange->origin;
}

void origin_add_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    exchange_response_header(response, MHD_HTTP_HEADER_VARY, "Origin");
    if (exchange->origin != ORIGIN_ALLOWED)
        return;
    exchange_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN,
                             exchange_field(exchange, FIELD_ORIGIN));
    exchange_response_header(
        response, MHD_HTTP_HEADER_ACCESS_CONTROL_EXPOSE_HEADERS,
        "ETag, Location, Retry-After, Sluice-Channel, Sluice-Id, Sluice-Time, Sluice-Event, "
        "Sluice-Producer, Sluice-Reset");
}

bool origin_refuses_change(struct exchange *exchange)
{
    if (exchange->origin != ORIGIN_FOREIGN)
        return false;
    exchange_fail(exchange, ERROR_FORBIDDEN_ORIGIN,
                  "pages of %.200s may not publish here; to let them, add that origin to allowed-origins",
                  exchange_field(exchange, FIELD_ORIGIN));
    return true;
}
