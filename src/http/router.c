/* SPDX-License-Identifier: MIT */
#include "http/router.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "config/channel_options.h"
#include "base/log.h"
#include "http/host.h"
#include "http/origin.h"
#include "http/routes.h"

/* A body that a route has no use for may be this large: then it is read, dropped and the request is answered.
 */
#define ROUTER_BODY_UNWANTED 65536u
#define ROUTER_ALLOW_MAX 64
/* As long as browsers remember it at most (Chromium two hours); the request itself is judged each time. */
#define ROUTER_PREFLIGHT_S "7200"
/* Two for each SockJS service, and those of the other transports. */
#define ROUTER_ADDED_MAX 160u
#define METHODS_READ (METHOD_GET | METHOD_HEAD)

static void channel_path_handle(struct exchange *exchange)
{
    if (exchange->method & METHODS_READ)
        subscribe_handle(exchange);
    else
        publish_handle(exchange);
}

static const struct route routes[] = {
    {"/channels/", true, METHODS_READ | METHOD_POST | METHOD_PUT, false, channel_path_handle,
     .elsewhere = "DELETE /api/channels/NAME deletes what is kept"},
    {"/channels", false, METHOD_POST, true, batch_handle,
     .elsewhere = "one channel is at /channels/NAME, the list of all at GET /api/channels"},
    {"/api/channels/", true, METHODS_READ | METHOD_DELETE, false, channel_handle,
     .elsewhere = "publish at /channels/NAME", .needs_admin = true},
    {"/api/channels", false, METHODS_READ, false, channels_handle,
     .elsewhere = "publish a batch at /channels", .needs_admin = true},
    {"/api/tokens/", true, METHOD_DELETE, false, token_handle,
     .elsewhere = "tokens are signed elsewhere, see docs/AUTH.md", .needs_admin = true},
    {"/api/tokens", false, METHOD_DELETE, false, tokens_handle,
     .elsewhere = "tokens are signed elsewhere, see docs/AUTH.md", .needs_admin = true},
    {"/api/stats", false, METHODS_READ, false, stats_handle, .elsewhere = "publish at /channels/NAME",
     .needs_admin = true},
    {"/metrics", false, METHODS_READ, false, metrics_handle, .elsewhere = "publish at /channels/NAME",
     .needs_admin = true},
    {"/healthz", false, METHODS_READ, false, health_handle, .elsewhere = "publish at /channels/NAME",
     .is_for_probes = true},
    {"/readyz", false, METHODS_READ, false, ready_handle, .elsewhere = "publish at /channels/NAME",
     .is_for_probes = true},
    {"/", true, METHODS_READ, false, files_handle, .elsewhere = "publish at /channels/NAME",
     .is_for_embedding = true},
};

static const struct {
    enum http_method method;
    const char *name;
} router_methods[] = {{METHOD_GET, "GET"}, {METHOD_HEAD, "HEAD"},     {METHOD_POST, "POST"},
                      {METHOD_PUT, "PUT"}, {METHOD_DELETE, "DELETE"}, {METHOD_OPTIONS, "OPTIONS"}};

const char *router_method_name(enum http_method method)
{
    for (size_t i = 0; i < ARRAY_LENGTH(router_methods); i++)
        if (router_methods[i].method == method)
            return router_methods[i].name;
    return "?";
}

static const struct route *router_added[ROUTER_ADDED_MAX];
static size_t router_added_count;

int router_add(const struct route *route)
{
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++)
        if (strcmp(routes[i].prefix, route->prefix) == 0)
            return -EEXIST;
    for (size_t i = 0; i < router_added_count; i++)
        if (strcmp(router_added[i]->prefix, route->prefix) == 0)
            return -EEXIST;
    if (router_added_count == ROUTER_ADDED_MAX)
        return -ENOSPC;
    router_added[router_added_count++] = route;
    return 0;
}

static bool router_fits(const struct route *route, const char *path)
{
    size_t len = strlen(route->prefix);
    return strncmp(route->prefix, path, len) == 0 && (route->takes_name || path[len] == '\0');
}

/* The one with the longest prefix that the path has; of our own that is the first. */
static const struct route *router_find(const char *path)
{
    const struct route *best = routes;
    const struct route *last = &routes[ARRAY_LENGTH(routes) - 1];
    while (best < last && !(path && router_fits(best, path)))
        best++;
    for (size_t i = 0; path && i < router_added_count; i++)
        if (strlen(router_added[i]->prefix) > strlen(best->prefix) && router_fits(router_added[i], path))
            best = router_added[i];
    return best;
}

static void router_format_allow(const struct route *route, char allow[static ROUTER_ALLOW_MAX])
{
    unsigned methods = route->methods | METHOD_OPTIONS;
    allow[0] = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(router_methods); i++) {
        if (!(methods & router_methods[i].method))
            continue;
        if (allow[0])
            strcat(allow, ", ");
        strcat(allow, router_methods[i].name);
    }
}

void router_add_allow(const struct exchange *exchange, struct MHD_Response *response)
{
    char allow[ROUTER_ALLOW_MAX];
    router_format_allow(router_find(exchange->path), allow);
    exchange_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    exchange_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, allow);
}

static void router_answer_options(struct exchange *exchange)
{
    struct MHD_Response *response = exchange_response("", 0, NULL, false);
    if (response) {
        router_add_allow(exchange, response);
        origin_add_allowed_headers(exchange, response);
        exchange_response_header(response, "Access-Control-Max-Age", ROUTER_PREFLIGHT_S);
    }
    exchange_answer(exchange, MHD_HTTP_NO_CONTENT, response);
}

static void router_answer_method(struct exchange *exchange)
{
    const struct route *route = router_find(exchange->path);
    char allow[ROUTER_ALLOW_MAX];
    router_format_allow(route, allow);
    exchange_fail(exchange, ERROR_METHOD, "this path takes %s; %s", allow, route->elsewhere);
}

/* Paths that people take for ours, with a trailing slash for all below it. */
static const struct {
    const char *path;
    const char *hint;
} router_near_misses[] = {
    {"/channel/", "channels are at /channels/NAME"},
    {"/channel", "channels are at /channels/NAME"},
    {"/api/channel/", "channels are looked at under /api/channels/NAME"},
    {"/api/channel", "channels are listed at /api/channels"},
    {"/api/stat", "numbers are at /api/stats"},
    {"/stats", "numbers are at /api/stats"},
    {"/metric", "numbers for Prometheus are at /metrics"},
    {"/health", "liveness is at /healthz"},
    {"/ready", "readiness is at /readyz"},
};

static const char *router_hint(const char *path)
{
    for (size_t i = 0; path && i < ARRAY_LENGTH(router_near_misses); i++) {
        const char *near = router_near_misses[i].path;
        size_t len = strlen(near);
        if (strncasecmp(near, path, len) == 0 && (near[len - 1] == '/' || path[len] == '\0'))
            return router_near_misses[i].hint;
    }
    for (size_t i = 0; path && i < ARRAY_LENGTH(routes) - 1; i++) {
        size_t len = strlen(routes[i].prefix);
        if (strncasecmp(routes[i].prefix, path, len) == 0 && strncmp(routes[i].prefix, path, len) != 0)
            return "paths are in lower case";
    }
    return NULL;
}

void router_answer_not_found(struct exchange *exchange)
{
    const char *hint = router_hint(exchange->path);
    exchange_fail(exchange, ERROR_NOT_FOUND, "nothing is at this path; %s",
                  hint ? hint : "channels are at /channels/NAME");
}

void router_answer_hidden(struct exchange *exchange)
{
    exchange_fail(exchange, ERROR_NOT_FOUND,
                  "this is on the server's admin listener; here it takes a token with the admin right");
}

/* Operators who declare a listener for it expect that the others do not have it. */
static bool router_hides(const struct exchange *exchange, const struct route *route)
{
    const struct shard *shard = exchange->shard;
    return route->needs_admin && !exchange->is_admin && shard->options->admin.count > 0 &&
           !auth_keys_are_there(shard->keys);
}

static struct text router_name_behind(const struct exchange *exchange, const struct route *route)
{
    return text_behind((struct text){exchange->path, exchange->path_len}, strlen(route->prefix));
}

/* Operators whose proxy hands through a name that is not listed learn it here too. */
static void router_answer_misdirected(struct exchange *exchange)
{
    const char *host = exchange_field(exchange, FIELD_HOST);
    log_event(LOG_WARN, "wrong-host", LOG_TEXT("host", host),
              LOG_TEXT("action", "if that is a name of this server, list it in allowed-hosts"));
    exchange_fail(exchange, ERROR_WRONG_HOST,
                  "this server does not answer to the name %.255s; if it is to, add it to allowed-hosts",
                  host);
}

static const struct route router_misdirected_route = {
    "", true, 0, false, router_answer_misdirected, .elsewhere = ""};
static const struct route router_options_route = {"", true, 0, false, router_answer_options, .elsewhere = ""};
static const struct route router_nowhere_route = {
    "", true, 0, false, router_answer_not_found, .elsewhere = ""};
static const struct route router_presence_route = {"/api/channels/", true,           METHODS_READ, false,
                                                   presence_handle,  .elsewhere = ""};
static const struct route router_hidden_route = {"", true, 0, false, router_answer_hidden, .elsewhere = ""};
static const struct route router_method_route = {"", true, 0, false, router_answer_method, .elsewhere = ""};

static uint64_t router_body_limit(const struct exchange *exchange, const struct route *route)
{
    const struct options *options = exchange->shard->options;
    if (!(route->methods & exchange->method & (METHOD_POST | METHOD_PUT)))
        return ROUTER_BODY_UNWANTED;
    if (route->handle == channel_path_handle)
        return channel_message_size(options, router_name_behind(exchange, route));
    return route->is_batch ? options->batch_size_bytes : channel_message_size_most(options);
}

void router_choose(struct exchange *exchange)
{
    const struct route *route = router_find(exchange->path);
    if (route->handle == channel_handle && exchange->method & METHODS_READ &&
        presence_is_asked(router_name_behind(exchange, route)))
        route = &router_presence_route;
    origin_judge(exchange);
    exchange->body_limit = router_body_limit(exchange, route);
    if (!route->is_for_probes && !host_is_ours(exchange_field(exchange, FIELD_HOST),
                                               exchange->client->entrance, exchange->shard->options))
        exchange->route = &router_misdirected_route;
    else if (exchange->method == METHOD_OPTIONS && !route->answers_options)
        exchange->route = &router_options_route;
    else if (router_hides(exchange, route))
        exchange->route = &router_hidden_route;
    else if ((route->methods | METHOD_OPTIONS) & exchange->method)
        exchange->route = route;
    else if (route->handle == files_handle && router_hint(exchange->path))
        exchange->route = &router_nowhere_route;
    else
        exchange->route = &router_method_route;
}

struct text router_name(const struct exchange *exchange)
{
    return router_name_behind(exchange, exchange->route);
}
