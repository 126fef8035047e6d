/* SPDX-License-Identifier: MIT */
#include "check_network/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "config.h"

#define REQUEST_CONNECT_MS 10000L
#define HTTP_STATUS_OK 200L

static void request_copy(char *to, size_t size, struct text value)
{
    snprintf(to, size, "%.*s", (int)value.len, value.bytes);
}

/* One who compresses on the way makes a tag weak. */
static void request_read_cursor(struct request *request, struct text tag)
{
    if (text_begins(tag, "W/"))
        tag = text_behind(tag, 2);
    if (tag.len >= 2 && tag.bytes[0] == '"')
        request_copy(request->cursor, sizeof(request->cursor), (struct text){tag.bytes + 1, tag.len - 2});
}

void request_take_field(struct request *request, struct text name, struct text value)
{
    size_t said = strlen(request->via);
    if (text_is_word(name, "content-type"))
        request_copy(request->type, sizeof(request->type), value);
    else if (text_is_word(name, "etag"))
        request_read_cursor(request, value);
    else if ((text_is_word(name, "via") || text_is_word(name, "server")) && said + 1 < sizeof(request->via))
        snprintf(request->via + said, sizeof(request->via) - said, "%s%.*s", said ? ", " : "", (int)value.len,
                 value.bytes);
}

/* Of libcurl: one line of a head, which may be that of a proxy's answer to CONNECT, or a 1xx. */
static size_t request_take_head(char *bytes, size_t size, size_t count, void *context)
{
    struct request *request = context;
    struct text line = text_trim((struct text){bytes, size * count});
    while (line.len > 0 && (line.bytes[line.len - 1] == '\n' || line.bytes[line.len - 1] == '\r'))
        line.len--;
    if (text_begins(line, "HTTP/")) {
        request->type[0] = request->via[0] = request->code[0] = '\0';
    } else if (line.len == 0) {
        curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status);
    } else {
        struct text name = text_cut(&line, ':');
        request_take_field(request, name, text_trim(line));
    }
    return size * count;
}

static int request_say_token(struct request *request)
{
    struct buf field = {0};
    int error = 0;
    if (!request->order->token)
        return 0;
    buf_append_text(&field, "Authorization: Bearer ");
    buf_append_text(&field, request->order->token);
    buf_append_char(&field, '\0');
    error = field.has_failed ? -ENOMEM : request_add_field(request, field.bytes);
    buf_deinit(&field);
    return error;
}

static int request_say_url(struct request *request, const char *path)
{
    struct buf url = {0};
    buf_append_text(&url, request->order->url);
    buf_append_text(&url, path);
    buf_append_char(&url, '\0');
    int error = url.has_failed || curl_easy_setopt(request->easy, CURLOPT_URL, url.bytes) ? -ENOMEM : 0;
    buf_deinit(&url);
    return error;
}

int request_init(struct request *request, const struct check_order *order, const char *path, const char *body)
{
    *request = (struct request){.order = order, .easy = curl_easy_init()};
    CURL *easy = request->easy;
    if (!easy || request_say_url(request, path) || request_say_token(request)) {
        request_deinit(request);
        return -ENOMEM;
    }
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice-check-network/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, REQUEST_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, request_take_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
    if (order->proxy) {
        curl_easy_setopt(easy, CURLOPT_PROXY, order->proxy);
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    }
    if (order->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, order->ca_file);
    if (body)
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body);
    return 0;
}

int request_add_field(struct request *request, const char *field)
{
    struct curl_slist *longer = curl_slist_append(request->fields, field);
    if (!longer)
        return -ENOMEM;
    request->fields = longer;
    curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, longer);
    return 0;
}

int request_begin(struct request *request, CURLM *multi, void (*done)(struct request *request, CURLcode code))
{
    request->done = done;
    curl_easy_setopt(request->easy, CURLOPT_PRIVATE, request);
    if (curl_multi_add_handle(multi, request->easy))
        return -ENOMEM;
    request->multi = multi;
    return 0;
}

void request_finish(CURLM *multi)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
        struct request *request = NULL;
        CURLcode code = message->data.result; /* the message goes with its handle */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        request->done(request, code);
    }
}

void request_deinit(struct request *request)
{
    if (request->multi)
        curl_multi_remove_handle(request->multi, request->easy);
    request->multi = NULL;
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->fields);
    request->easy = NULL;
    request->fields = NULL;
}

void request_take_refusal(struct request *request, struct text body)
{
    static const char member[] = "\"error\":\"";
    const char *at = body.len ? memmem(body.bytes, body.len, member, strlen(member)) : NULL;
    if (!at || request->code[0])
        return;
    struct text rest = text_behind(body, (size_t)(at - body.bytes) + strlen(member));
    size_t len = 0;
    while (len < rest.len && ((rest.bytes[len] >= 'a' && rest.bytes[len] <= 'z') || rest.bytes[len] == '-'))
        len++;
    if (len < rest.len && rest.bytes[len] == '"' && len < REQUEST_CODE_MAX)
        request_copy(request->code, sizeof(request->code), (struct text){rest.bytes, len});
}

void request_explain_loss(const struct request *request, CURLcode code, char to[WAY_FAULT_MAX])
{
    snprintf(to, WAY_FAULT_MAX, "%.150s%s", request->error[0] ? request->error : curl_easy_strerror(code),
             code == CURLE_PEER_FAILED_VERIFICATION ? " (--ca FILE: whom to trust)" : "");
}

void request_explain(const struct request *request, CURLcode code, char to[WAY_FAULT_MAX])
{
    const char *by = request->via[0] ? " by " : "";
    if (request->status && request->status != HTTP_STATUS_OK)
        snprintf(to, WAY_FAULT_MAX, "answered %ld%s%s%s%s%.120s", request->status,
                 request->code[0] ? " (" : "", request->code, request->code[0] ? ")" : "", by, request->via);
    else if (code != CURLE_OK)
        request_explain_loss(request, code, to);
    else
        snprintf(to, WAY_FAULT_MAX, "an answer of another kind (%.60s)%s%.80s",
                 request->type[0] ? request->type : "without a type", by, request->via);
}
