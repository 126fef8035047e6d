/* SPDX-License-Identifier: MIT */
#include "http/publishing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"
#include "core/cursor.h"
#include "http/origin.h"
#include "render/render.h"

#define TTL_SECONDS_MAX 31536000u

#define NAME_SHOWN_MAX 64u

struct publishing_query {
    const char *const *names;
    struct text unknown;
};

/* Returns MHD_NO to stop at the first unknown one. */
static enum MHD_Result publishing_visit_query(void *cls, enum MHD_ValueKind kind, const char *name,
                                              size_t name_len, const char *value, size_t value_len)
{
    struct publishing_query *query = cls;
    (void)kind;
    (void)value;
    (void)value_len; /* which ones there are is all that is asked */
    struct text found = {name, name_len};
    if (name_len == 0 || text_index(found, query->names, SIZE_MAX) < SIZE_MAX)
        return MHD_YES;
    query->unknown = found;
    return MHD_NO;
}

static bool publishing_refuses_query(struct exchange *exchange, const char *const *names)
{
    char list[128] = "";
    struct publishing_query query = {.names = names};
    MHD_get_connection_values_n(exchange->connection, MHD_GET_ARGUMENT_KIND, publishing_visit_query, &query);
    if (!query.unknown.bytes)
        return false;
    if (query.unknown.len > NAME_SHOWN_MAX || !message_attribute_is_valid(query.unknown))
        query.unknown = text_of("...");
    for (size_t i = 0; names[i]; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i > 0 ? ", " : "", names[i]);
    exchange_fail(exchange, ERROR_BAD_OPTION, "publishing has no query parameter '%.*s'; here it takes %s",
                  (int)query.unknown.len, query.unknown.bytes, list[0] ? list : "none");
    return true;
}

/* What some libraries for event streams do when they are told to use POST. */
static bool publishing_is_meant_to_receive(const struct exchange *exchange)
{
    const char *accept = exchange_field(exchange, FIELD_ACCEPT);
    return exchange->body.len == 0 && !exchange_field(exchange, FIELD_CONTENT_TYPE) && accept &&
           strcasestr(accept, "text/event-stream");
}

bool publishing_mime_is(const char *mime, const char *want)
{
    size_t len = strcspn(mime, "; \t");
    return len == strlen(want) && strncasecmp(mime, want, len) == 0;
}

bool publishing_refuses(struct exchange *exchange, const char *const *names)
{
    const char *mime = exchange_field(exchange, FIELD_CONTENT_TYPE);
    if (origin_refuses_change(exchange))
        return true;
    if (publishing_is_meant_to_receive(exchange)) {
        exchange_fail(exchange, ERROR_NOT_ACCEPTABLE,
                      "this method publishes, and there is no body to publish; to receive events use GET");
        return true;
    }
    if (mime && publishing_mime_is(mime, "multipart/form-data")) {
        exchange_fail(exchange, ERROR_MEDIA_TYPE,
                      "the body is a form in parts; send the data alone as the body, with its own "
                      "Content-Type (curl: --data-binary @FILE in place of -F)");
        return true;
    }
    return publishing_refuses_query(exchange, names);
}

enum error_code publishing_fill(const struct exchange *exchange, struct publish_item *item,
                                const struct publish_wish *wish, char fault[PUBLISHING_FAULT_MAX])
{
    return publish_item_fill(item, wish, exchange->shard->options->message_size_bytes, fault);
}

struct publishing *publishing_new(struct exchange *exchange, size_t count)
{
    struct publishing *publishing = calloc(1, sizeof(*publishing));
    if (!publishing)
        return NULL;
    publishing->exchange = exchange;
    publishing->request.count = count;
    publishing->request.items = count == 1 ? &publishing->one : calloc(count, sizeof(struct publish_item));
    if (publishing->request.items)
        return publishing;
    free(publishing);
    return NULL;
}

void publishing_free(struct publishing *publishing)
{
    struct publish_request *request = &publishing->request;
    for (size_t i = 0; i < request->count; i++) {
        free(request->items[i].channel);
        message_unref(request->items[i].message);
    }
    if (request->items != &publishing->one)
        free(request->items);
    free(publishing);
}

static void publishing_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct publishing *publishing = container_of(request, struct publishing, request);
    publishing->done(publishing);
}

void publishing_submit(struct publishing *publishing, void (*done)(struct publishing *publishing))
{
    publishing->done = done;
    struct exchange *exchange = publishing->exchange;
    if (hub_submit(&exchange->shard->hub, &publishing->request.super, BROKER_PUBLISH, publishing_answered))
        done(publishing);
    else
        exchange_suspend(exchange);
}

void publishing_render(struct buf *to, const struct publish_item *item)
{
    char id[POSITION_TEXT_MAX];
    buf_append_text(to, "{\"channel\":");
    render_json_string(to, item->channel, item->channel_len);
    buf_append_text(to, ",\"id\":\"");
    buf_append(to, id, position_format(id, &item->epoch, item->offset));
    buf_append_text(to, "\",\"time\":");
    buf_append_u64(to, (uint64_t)item->time_ms);
    buf_append_text(to, ",\"type\":\"");
    buf_append_text(to, message_type_word((enum message_type)item->type));
    buf_append_char(to, '"');
    if (item->is_duplicate)
        buf_append_text(to, ",\"duplicate\":true");
    buf_append_char(to, '}');
}

int publishing_parse_ttl(uint64_t *ttl_ms, struct text text)
{
    uint64_t seconds;
    if (number_parse_u64(&seconds, text.bytes, text.len) || seconds == 0)
        return -EINVAL;
    *ttl_ms = (seconds > TTL_SECONDS_MAX ? TTL_SECONDS_MAX : seconds) * 1000;
    return 0;
}
