/* SPDX-License-Identifier: MIT */
#include "http/origin.h"

#include <string.h>
#include <strings.h>

#include "http/forwarded.h"
#include "http/host.h"

/* There is room for it in the memory of every connection. */
#define ORIGIN_ASKED_MAX 1024u
/* As little; what does not fit may not show our pages. */
#define ORIGIN_FRAME_POLICY_MAX 1024u

/* A name that anybody can make point here (DNS rebinding) does not make a page the server's own. */
static bool origin_host_is_certain(const struct exchange *exchange, const char *authority)
{
    const struct options *options = exchange->shard->options;
    return options->anonymous || host_is_address(authority) || host_is_listed(authority, options);
}

/* What follows SCHEME:// when the origin has that scheme; NULL otherwise. */
static const char *origin_authority(const char *origin, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncasecmp(origin, scheme, len) == 0 && strncmp(origin + len, "://", 3) == 0 ? origin + len + 3
                                                                                         : NULL;
}

/* What a trusted proxy says that the browser came by; nothing when there is none, or it does not say. */
static struct text origin_forwarded(const struct exchange *exchange, enum exchange_field field,
                                    const char *parameter)
{
    if (!exchange->client->is_proxy)
        return (struct text){0};
    if (forwarded_is_standard(exchange->shard->options))
        return forwarded_parameter(text_of(exchange_field(exchange, FIELD_FORWARDED)), parameter);
    return text_of(exchange_field(exchange, field));
}

/* Without TLS of our own only a proxy in front may say that the browser came by HTTPS, and from which host.
 */
static bool origin_is_own(const struct exchange *exchange, const char *origin)
{
    const struct text proto = origin_forwarded(exchange, FIELD_FORWARDED_PROTO, "proto");
    const struct text forwarded_host = origin_forwarded(exchange, FIELD_FORWARDED_HOST, "host");
    const char *host = exchange_field(exchange, FIELD_HOST);
    bool is_https = proto.len > 0 ? text_is_word(proto, "https") : exchange->client->is_tls;
    const char *authority = origin_authority(origin, is_https ? "https" : "http");
    if (!authority)
        return false;
    if (forwarded_host.len > 0 && text_is_word(forwarded_host, authority))
        return true;
    return host && strcasecmp(authority, host) == 0 && origin_host_is_certain(exchange, host);
}

/* What an admin listener serves without a token is for its own pages alone. */
static bool origin_is_listed(const struct exchange *exchange, const char *origin)
{
    const struct string_list *list = &exchange->shard->options->allowed_origins;
    for (size_t i = 0; !exchange->client->entrance->is_admin && i < list->count; i++)
        if (strcasecmp(list->items[i], origin) == 0)
            return true;
    return false;
}

/* A proxy that has changed Host: the browser knows better (no page can set this field), and the Host that was
 * put there is one that no stranger's name leads to. */
static bool origin_is_vouched_for(const struct exchange *exchange)
{
    const char *site = exchange_field(exchange, FIELD_FETCH_SITE);
    const char *host = exchange_field(exchange, FIELD_HOST);
    return site && host && strcmp(site, "same-origin") == 0 &&
           (host_is_loopback(host) || host_is_listed(host, exchange->shard->options));
}

void origin_judge(struct exchange *exchange)
{
    const char *origin = exchange_field(exchange, FIELD_ORIGIN);
    exchange->origin = !origin                              ? ORIGIN_NONE
                       : origin_is_listed(exchange, origin) ? ORIGIN_LISTED
                       : origin_is_own(exchange, origin) || origin_is_vouched_for(exchange) ||
                               origin_is_listed(exchange, "*")
                           ? ORIGIN_ALLOWED
                           : ORIGIN_FOREIGN;
}

bool origin_is_trusted(const struct exchange *exchange)
{
    const char *origin = exchange_field(exchange, FIELD_ORIGIN);
    return origin && (origin_is_listed(exchange, origin) || origin_is_own(exchange, origin) ||
                      origin_is_vouched_for(exchange));
}

/* The fields that a page asks to send, when they are such. */
static const char *origin_asked_headers(const struct exchange *exchange)
{
    static const char list_of_tokens[] = ", !#$%&'*+-.^_`|~0123456789"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *asked = exchange_field(exchange, FIELD_REQUEST_HEADERS);
    bool is_list =
        asked && *asked && strlen(asked) <= ORIGIN_ASKED_MAX && !asked[strspn(asked, list_of_tokens)];
    return is_list ? asked : NULL;
}

/* A page without an origin is told that everybody may: its browser takes no other answer. */
static void origin_add_open_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    const char *origin = exchange_field(exchange, FIELD_ORIGIN);
    const char *asked = origin_asked_headers(exchange);
    bool is_named = origin && *origin && strcmp(origin, "null") != 0;
    exchange_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, is_named ? origin : "*");
    if (is_named)
        exchange_response_header(response, "Access-Control-Allow-Credentials", "true");
    if (asked)
        exchange_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, asked);
}

void origin_add_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    exchange_response_header(response, MHD_HTTP_HEADER_VARY, "Origin");
    if (exchange->origin == ORIGIN_OPEN)
        origin_add_open_headers(exchange, response);
    if (exchange->origin != ORIGIN_ALLOWED && exchange->origin != ORIGIN_LISTED)
        return;
    exchange_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN,
                             exchange_field(exchange, FIELD_ORIGIN));
    if (exchange->origin == ORIGIN_LISTED)
        exchange_response_header(response, "Access-Control-Allow-Credentials", "true");
    exchange_response_header(
        response, MHD_HTTP_HEADER_ACCESS_CONTROL_EXPOSE_HEADERS,
        "ETag, Location, Retry-After, Sluice-Alternatives, Sluice-Channel, Sluice-Id, Sluice-Time, "
        "Sluice-Event, "
        "Sluice-Key, Sluice-Producer, Sluice-Reset, Sluice-Store, Sluice-Tree, WWW-Authenticate");
}

/* Whatever fields a page that may come asks for, it may send: nothing here hangs on them. */
void origin_add_allowed_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    const char *asked = origin_asked_headers(exchange);
    exchange_response_header(
        response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS,
        asked ? asked
              : "Authorization, Cache-Control, Content-Type, Idempotency-Key, "
                "If-None-Match, Last-Event-ID, Prefer, Sluice-Event, Sluice-Key, "
                "Sluice-Producer, Sluice-Store, Sluice-TTL, X-CSRF-Token, X-Requested-With");
    exchange_response_header(response, MHD_HTTP_HEADER_VARY, "Access-Control-Request-Headers");
}

void origin_add_frame_policy(const struct exchange *exchange, struct MHD_Response *response)
{
    const struct string_list *list = &exchange->shard->options->allowed_origins;
    char policy[ORIGIN_FRAME_POLICY_MAX] = "frame-ancestors 'self'";
    size_t len = strlen(policy);
    for (size_t i = 0; i < list->count; i++) {
        size_t more = strlen(list->items[i]) + 1;
        if (strcmp(list->items[i], "*") == 0)
            return;
        /* A page without an origin cannot be named. */
        if (strcmp(list->items[i], "null") == 0 || more >= sizeof(policy) - len)
            continue;
        policy[len] = ' ';
        memcpy(policy + len + 1, list->items[i], more);
        len += more;
    }
    exchange_response_header(response, "Content-Security-Policy", policy);
}

/* A browser that hides the page's origin still says that it is another one's. */
static bool origin_is_hidden(const struct exchange *exchange)
{
    const char *site = exchange_field(exchange, FIELD_FETCH_SITE);
    return exchange->origin == ORIGIN_NONE && site &&
           (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0);
}

bool origin_refuses_change(struct exchange *exchange)
{
    const char *origin = exchange_field(exchange, FIELD_ORIGIN);
    if (exchange->origin != ORIGIN_FOREIGN && !origin_is_hidden(exchange))
        return false;
    bool has_stranger =
        !exchange->client->is_proxy && exchange_field(exchange, FIELD_FORWARDED_PROTO) != NULL;
    exchange_fail(exchange, ERROR_FORBIDDEN_ORIGIN,
                  "pages of %.200s may not publish here; to let them, add that origin to allowed-origins%s",
                  origin ? origin : "another site",
                  has_stranger ? ", or the proxy that sends X-Forwarded-Proto to trusted-proxies" : "");
    return true;
}
