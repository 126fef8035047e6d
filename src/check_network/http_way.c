/* SPDX-License-Identifier: MIT */
#include "check_network/http_way.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/text.h"

#define HTTP_STATUS_OK 200L
#define HTTP_STATUS_NO_CONTENT 204L

static const struct http_kind_facts {
    const char *name;
    const char *type;
    const char *query;
} http_kinds[] = {
    [HTTP_SSE] = {"sse", "text/event-stream", "transport=sse"},
    [HTTP_STREAM] = {"stream", "application/x-ndjson", "transport=stream"},
    [HTTP_POLL] = {"poll", "application/json", "transport=json"},
};

static bool http_is_its_own(const struct http_way *http)
{
    return http->request.status == HTTP_STATUS_OK &&
           text_begins_word(text_of(http->request.type), http_kinds[http->kind].type);
}

/* Of libcurl: bytes of the answer's body. */
static size_t http_take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct http_way *http = context;
    uint64_t now_ns = clock_monotonic_ns();
    if (!http_is_its_own(http)) {
        request_take_refusal(&http->request, (struct text){bytes, size * count});
        return size * count;
    }
    if (!http->way.opened_ns)
        http->way.opened_ns = now_ns;
    way_take(&http->way, bytes, size * count, now_ns);
    return size * count;
}

static int http_ask(struct http_way *http, const struct check_order *order);

/* A long-poll that was answered as it should be goes on. */
static bool http_goes_on(const struct http_way *http, CURLcode code)
{
    return http->kind == HTTP_POLL && code == CURLE_OK && http->request.cursor[0] &&
           (http_is_its_own(http) || http->request.status == HTTP_STATUS_NO_CONTENT);
}

static void http_ask_again(struct http_way *http)
{
    const struct check_order *order = http->request.order;
    uint64_t now_ns = clock_monotonic_ns();
    if (!http->way.opened_ns)
        http->way.opened_ns = now_ns;
    memcpy(http->cursor, http->request.cursor, sizeof(http->cursor));
    request_deinit(&http->request);
    if (http_ask(http, order))
        way_end(&http->way, now_ns, "out of memory");
}

static void http_done(struct request *request, CURLcode code)
{
    struct http_way *http = container_of(request, struct http_way, request);
    char why[WAY_FAULT_MAX];
    if (http_goes_on(http, code)) {
        http_ask_again(http);
        return;
    }
    if (http->way.opened_ns && code == CURLE_OK && http_is_its_own(http))
        snprintf(why, sizeof(why), "the answer was ended");
    else
        request_explain(request, code, why);
    way_end(&http->way, clock_monotonic_ns(), "%s", why);
    request_deinit(request);
}

static int http_ask(struct http_way *http, const struct check_order *order)
{
    const struct http_kind_facts *facts = &http_kinds[http->kind];
    char path[REQUEST_CURSOR_MAX + 512];
    char accept[64];
    const char *wait = http->kind != HTTP_POLL ? "" : http->cursor[0] ? "&wait=25" : "&wait=0";
    snprintf(path, sizeof(path), "/channels/%s?%s&since=%s%s", order->channel, facts->query,
             http->cursor[0] ? http->cursor : "now", wait);
    snprintf(accept, sizeof(accept), "Accept: %s", facts->type);
    if (request_init(&http->request, order, path, NULL) || request_add_field(&http->request, accept))
        return -ENOMEM;
    curl_easy_setopt(http->request.easy, CURLOPT_WRITEFUNCTION, http_take_body);
    curl_easy_setopt(http->request.easy, CURLOPT_WRITEDATA, http);
    return request_begin(&http->request, http->multi, http_done);
}

int http_way_begin(struct http_way *http, enum http_kind kind, const struct check_order *order,
                   const char *mark, CURLM *multi)
{
    *http = (struct http_way){.kind = kind, .multi = multi};
    way_init(&http->way, http_kinds[kind].name, mark);
    http->way.begun_ns = clock_monotonic_ns();
    return http_ask(http, order);
}

void http_way_end(struct http_way *http)
{
    request_deinit(&http->request);
    way_deinit(&http->way);
}
