/* SPDX-License-Identifier: MIT */
#include "http/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"
#include "config/channel_options.h"
#include "core/cursor.h"
#include "core/publish_object.h"
#include "http/identity.h"
#include "http/origin.h"
#include "http/query.h"
#include "http/router.h"
#include "http/routes.h"
#include "render/render.h"
#include "shard/rates.h"

/* What some libraries for event streams do when they are told to use POST. */
static bool http_publish_is_meant_to_receive(const struct exchange *exchange)
{
    const char *accept = exchange_field(exchange, FIELD_ACCEPT);
    return exchange->body.len == 0 && !exchange_field(exchange, FIELD_CONTENT_TYPE) && accept &&
           strcasestr(accept, "text/event-stream");
}

bool http_publish_mime_is(const char *mime, const char *want)
{
    size_t len = strcspn(mime, "; \t");
    return len == strlen(want) && strncasecmp(mime, want, len) == 0;
}

bool http_publish_refuses(struct exchange *exchange, const char *const *names)
{
    const char *mime = exchange_field(exchange, FIELD_CONTENT_TYPE);
    if (origin_refuses_change(exchange))
        return true;
    if (http_publish_is_meant_to_receive(exchange)) {
        exchange_fail(exchange, ERROR_NOT_ACCEPTABLE,
                      "this method publishes, and there is no body to publish; to receive events use GET");
        return true;
    }
    if (mime && http_publish_mime_is(mime, "multipart/form-data")) {
        exchange_fail(exchange, ERROR_MEDIA_TYPE,
                      "the body is a form in parts; send the data alone as the body, with its own "
                      "Content-Type (curl: --data-binary @FILE in place of -F)");
        return true;
    }
    return query_refuses(exchange, &(const struct query_rules){.doing = "publishing", .names = names});
}

static void http_publish_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct http_publish *publish = container_of(request, struct http_publish, request);
    publish->done(publish);
}

void http_publish_submit(struct http_publish *publish, void (*done)(struct http_publish *publish))
{
    publish->done = done;
    struct exchange *exchange = publish->exchange;
    if (hub_submit(&exchange->shard->hub, &publish->request.super, BROKER_PUBLISH, http_publish_answered))
        done(publish);
    else
        exchange_suspend(exchange);
}

enum error_code http_publish_admit(const struct exchange *exchange, struct publish_item *item,
                                   char fault[PUBLISH_FAULT_MAX])
{
    const struct asker by = rates_asker(&exchange->client->key, exchange->bearer.grant);
    return publish_item_admit(item, exchange->shard->hub.guard, &by, fault);
}

void http_publish_render(struct buf *to, const struct publish_item *item)
{
    buf_append_char(to, '{');
    publish_append_members(to, item);
}

/* One message: POST or PUT of its channel. */

#define LOCATION_MAX (3u * CHANNEL_NAME_MAX + POSITION_TEXT_MAX + 32u)

static const char *const publish_queries[] = {"event", "ttl",   "producer", "idempotency_key",
                                              "key",   "store", "token",    NULL};

struct publish_one {
    struct http_publish super;
    struct publish_item item;
};

static void publish_free(struct publish_one *one)
{
    free(one->item.channel);
    message_unref(one->item.message);
    free(one);
}

static enum message_type publish_type(const char *mime)
{
    size_t len = strcspn(mime, "; \t");
    if (http_publish_mime_is(mime, "application/json") ||
        (len > 5 && strncasecmp(mime + len - 5, "+json", 5) == 0))
        return MESSAGE_JSON;
    if (strncasecmp(mime, "text/", 5) == 0 || http_publish_mime_is(mime, "application/x-www-form-urlencoded"))
        return MESSAGE_TEXT;
    return MESSAGE_BINARY;
}

/* Many clients say nothing of their own accord. curl -d says form, whatever it sends: nobody wants to get
 * that back as the type of a text. */
static void publish_read_type(const struct exchange *exchange, struct publish_wish *wish)
{
    struct message_parts *parts = &wish->parts;
    const char *mime = exchange_field(exchange, FIELD_CONTENT_TYPE);
    if (!mime || !*mime) {
        parts->type = message_type_guess(parts->data, parts->size);
        wish->is_checked = true;
        return;
    }
    parts->type = publish_type(mime);
    if (http_publish_mime_is(mime, "application/x-www-form-urlencoded") ||
        strlen(mime) > MESSAGE_ATTRIBUTE_MAX)
        return;
    parts->mime = text_of(mime);
}

static struct text publish_option(const struct exchange *exchange, const char *query,
                                  enum exchange_field field)
{
    struct text value = exchange_query(exchange, query);
    return value.bytes ? value : text_of(exchange_field(exchange, field));
}

/* A path with what is not unreserved in it escaped. */
static size_t publish_escape(char *to, const char *name, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_plain = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
                        (name[i] >= 'A' && name[i] <= 'Z') || strchr("-_.~:@!$'()*+,;=/", name[i]);
        if (is_plain)
            to[out++] = name[i];
        else
            out += (size_t)sprintf(to + out, "%%%02X", (unsigned char)name[i]);
    }
    return out;
}

/* From where it is told next; what stands in no log, what comes behind it. */
static void publish_format_location(char *to, const struct publish_item *item)
{
    const uint64_t since = item->is_transient ? item->offset : item->offset - 1;
    size_t len = (size_t)sprintf(to, "/channels/");
    len += publish_escape(to + len, item->channel, item->channel_len);
    len += (size_t)sprintf(to + len, "?since=");
    len += position_format(to + len, &item->epoch, since);
    to[len] = '\0';
}

static void publish_done(struct http_publish *publish)
{
    struct publish_one *one = container_of(publish, struct publish_one, super);
    struct exchange *exchange = publish->exchange;
    const struct publish_item *item = &one->item;
    enum error_code error =
        publish->request.super.error != ERROR_NONE ? publish->request.super.error : item->error;
    if (error != ERROR_NONE) {
        exchange_fail(exchange, error, "%s", error_text(error));
    } else {
        char location[LOCATION_MAX];
        struct buf json = {0};
        http_publish_render(&json, item);
        buf_append_char(&json, '\n');
        publish_format_location(location, item);
        struct MHD_Response *response =
            json.has_failed ? NULL : exchange_response(json.bytes, json.len, "application/json", true);
        if (json.has_failed)
            buf_deinit(&json);
        if (response)
            exchange_response_header(response, MHD_HTTP_HEADER_LOCATION, location);
        exchange_answer(exchange, item->is_duplicate ? MHD_HTTP_OK : MHD_HTTP_CREATED, response);
    }
    publish_free(one);
}

static bool publish_read_options(struct exchange *exchange, struct publish_wish *wish)
{
    struct text ttl = publish_option(exchange, "ttl", FIELD_SLUICE_TTL);
    if (ttl.bytes && publish_parse_ttl(&wish->parts.ttl_ms, ttl)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "ttl must be a whole number of seconds from 1 on");
        return false;
    }
    struct text store = publish_option(exchange, "store", FIELD_SLUICE_STORE);
    if (store.bytes && publish_parse_store(&wish->parts.is_transient, store)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "store must be yes or no");
        return false;
    }
    wish->parts.key = publish_option(exchange, "key", FIELD_SLUICE_KEY);
    wish->parts.event = publish_option(exchange, "event", FIELD_SLUICE_EVENT);
    wish->parts.producer = publish_option(exchange, "producer", FIELD_SLUICE_PRODUCER);
    wish->key = publish_option(exchange, "idempotency_key", FIELD_IDEMPOTENCY_KEY);
    return true;
}

void publish_handle(struct exchange *exchange)
{
    char fault[PUBLISH_FAULT_MAX];
    struct publish_wish wish = {0};
    wish.channel = router_name(exchange);
    if (http_publish_refuses(exchange, publish_queries) ||
        (channel_name_is_valid(wish.channel.bytes, wish.channel.len) &&
         identity_refuses(exchange, ACCESS_PUBLISH, wish.channel)) ||
        !publish_read_options(exchange, &wish))
        return;
    wish.parts.data = exchange_body(exchange, &wish.parts.size);
    publish_read_type(exchange, &wish);
    struct publish_one *one = malloc(sizeof(*one));
    if (!one) {
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    *one = (struct publish_one){
        .super = {.exchange = exchange, .request = {.count = 1, .items = &one->item}},
    };
    enum error_code error = publish_item_fill(
        &one->item, &wish, channel_message_size(exchange->shard->options, wish.channel), fault);
    if (error == ERROR_NONE)
        error = http_publish_admit(exchange, &one->item, fault);
    if (error == ERROR_NONE) {
        http_publish_submit(&one->super, publish_done);
        return;
    }
    exchange->retry_after_s = one->item.retry_after_s;
    exchange_fail(exchange, error, "%s", fault);
    publish_free(one);
}
