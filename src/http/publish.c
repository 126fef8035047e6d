/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/cursor.h"
#include "http/publishing.h"
#include "http/router.h"
#include "http/routes.h"

#define LOCATION_MAX (3u * CHANNEL_NAME_MAX + POSITION_TEXT_MAX + 32u)

static const char *const publish_queries[] = {"event", "ttl", "producer", "idempotency_key", NULL};

static enum message_type publish_type(const char *mime)
{
    size_t len = strcspn(mime, "; \t");
    if (publishing_mime_is(mime, "application/json") ||
        (len > 5 && strncasecmp(mime + len - 5, "+json", 5) == 0))
        return MESSAGE_JSON;
    if (strncasecmp(mime, "text/", 5) == 0 || publishing_mime_is(mime, "application/x-www-form-urlencoded"))
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
    if (publishing_mime_is(mime, "application/x-www-form-urlencoded") || strlen(mime) > MESSAGE_ATTRIBUTE_MAX)
        return;
    parts->mime = text_of(mime);
}

static struct text publish_option(const struct exchange *exchange, const char *query, const char *header)
{
    struct text value = exchange_query(exchange, query);
    return value.bytes ? value : text_of(exchange_header(exchange, header));
}

/* A path with what is not unreserved in it escaped. */
static size_t publish_escape(char *to, const char *name, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_plain = strchr("-_.~:@!$'()*+,;=/", name[i]) || (name[i] >= '0' && name[i] <= '9') ||
                        (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= 'a' && name[i] <= 'z');
        if (is_plain)
            to[out++] = name[i];
        else
            out += (size_t)sprintf(to + out, "%%%02X", (unsigned char)name[i]);
    }
    return out;
}

static void publish_format_location(char *to, const struct publish_item *item)
{
    size_t len = (size_t)sprintf(to, "/channels/");
    len += publish_escape(to + len, item->channel, item->channel_len);
    len += (size_t)sprintf(to + len, "?since=");
    len += position_format(to + len, &item->epoch, item->offset - 1);
    to[len] = '\0';
}

static void publish_done(struct publishing *publishing)
{
    struct exchange *exchange = publishing->exchange;
    const struct publish_item *item = &publishing->request.items[0];
    enum error_code error =
        publishing->request.super.error != ERROR_NONE ? publishing->request.super.error : item->error;
    if (error != ERROR_NONE) {
        exchange_fail(exchange, error, "%s", error_text(error));
    } else {
        char location[LOCATION_MAX];
        struct buf json = {0};
        publishing_render(&json, item);
        buf_append_char(&json, '\n');
        publish_format_location(location, item);
        struct MHD_Response *response =
            json.has_failed ? NULL : exchange_response(json.bytes, json.len, "application/json", false);
        buf_deinit(&json);
        if (response)
            exchange_response_header(response, MHD_HTTP_HEADER_LOCATION, location);
        exchange_answer(exchange, item->is_duplicate ? MHD_HTTP_OK : MHD_HTTP_CREATED, response);
    }
    publishing_free(publishing);
}

static bool publish_read_options(struct exchange *exchange, struct publish_wish *wish)
{
    struct text ttl = publish_option(exchange, "ttl", "Sluice-TTL");
    if (ttl.bytes && publishing_parse_ttl(&wish->parts.ttl_ms, ttl)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "ttl must be a whole number of seconds from 1 on");
        return false;
    }
    wish->parts.event = publish_option(exchange, "event", "Sluice-Event");
    wish->parts.producer = publish_option(exchange, "producer", "Sluice-Producer");
    wish->key = publish_option(exchange, "idempotency_key", "Idempotency-Key");
    return true;
}

void publish_handle(struct exchange *exchange)
{
    char fault[PUBLISHING_FAULT_MAX];
    struct publish_wish wish = {0};
    if (publishing_refuses(exchange, publish_queries) || !publish_read_options(exchange, &wish))
        return;
    wish.channel = router_name(exchange);
    wish.parts.data = exchange_body(exchange, &wish.parts.size);
    publish_read_type(exchange, &wish);
    struct publishing *publishing = publishing_new(exchange, 1);
    enum error_code error =
        publishing ? publishing_fill(exchange, publishing->request.items, &wish, fault) : ERROR_OUT_OF_MEMORY;
    if (error == ERROR_NONE) {
        publishing_submit(publishing, publish_done);
        return;
    }
    exchange_fail(exchange, error, "%s", publishing ? fault : error_text(error));
    if (publishing)
        publishing_free(publishing);
}
