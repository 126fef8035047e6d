/* SPDX-License-Identifier: MIT */
/* Looking at channels and purging them. */

#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "config/channel_options.h"
#include "core/cursor.h"
#include "http/origin.h"
#include "http/router.h"
#include "http/routes.h"
#include "render/render.h"

#define LIST_LIMIT_PRESET 100u
#define LIST_LIMIT_MAX 1000u

/* One channel: the broker's numbers, then a round over the shards for their subscribers. */
struct look {
    struct inspect_request request;
    struct survey survey;
    struct exchange *exchange;
    uint64_t subscribers[TRANSPORT_COUNT];
};

static struct look *look_new(struct exchange *exchange)
{
    struct text name = router_name(exchange);
    const char *fault = channel_name_fault(name.bytes, name.len);
    if (fault) {
        exchange_fail(exchange, ERROR_BAD_CHANNEL, "a channel name %s", fault);
        return NULL;
    }
    struct look *look = calloc(1, sizeof(*look));
    if (!look) {
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
        return NULL;
    }
    look->exchange = exchange;
    memcpy(look->request.channel.name, name.bytes, name.len);
    look->request.channel.name_len = name.len;
    return look;
}

static void look_fail(struct look *look)
{
    enum error_code error = look->request.super.error;
    exchange_fail(look->exchange, error, "%s", error_text(error));
    free(look);
}

static void look_append_id(struct buf *to, const char *name, const struct epoch *epoch, uint64_t offset,
                           bool has_any)
{
    char id[POSITION_TEXT_MAX];
    buf_append_char(to, ',');
    render_json_key(to, name);
    if (!has_any) {
        buf_append_text(to, "null");
        return;
    }
    buf_append_char(to, '"');
    buf_append(to, id, position_format(id, epoch, offset));
    buf_append_char(to, '"');
}

static void look_append_u64(struct buf *to, const char *name, uint64_t value)
{
    buf_append_char(to, ',');
    render_json_key(to, name);
    buf_append_u64(to, value);
}

static void look_append_subscribers(struct buf *to, const uint64_t counts[TRANSPORT_COUNT])
{
    uint64_t total = 0;
    for (unsigned i = 0; i < TRANSPORT_COUNT; i++)
        total += counts[i];
    buf_append_text(to, ",\"subscribers\":{\"total\":");
    buf_append_u64(to, total);
#define LOOK_COUNT(to, name, word, help) look_append_u64(to, word, counts[TRANSPORT_##name]);
    TRANSPORT_TABLE(LOOK_COUNT, TRANSPORT_NONE, to)
#undef LOOK_COUNT
    buf_append_char(to, '}');
}

static void look_append_last_published(struct buf *to, int64_t time_ms)
{
    if (time_ms > 0)
        look_append_u64(to, "last_published", (uint64_t)time_ms);
    else
        buf_append_text(to, ",\"last_published\":null");
}

/* As they stand in the configuration file. */
static void look_append_options(struct buf *to, const struct options *options, struct text name)
{
    struct channel_options found;
    channel_options_resolve(&found, options, name);
    buf_append_text(to, ",\"options\":{");
    for (enum channel_option option = 0; option < CHANNEL_OPTION_COUNT; option++) {
        char *value = channel_option_format(&found, option);
        to->has_failed = to->has_failed || !value;
        buf_append_text(to, option > 0 ? "," : "");
        render_json_key(to, channel_option_row(option)->name);
        render_json_string(to, value ? value : "", value ? strlen(value) : 0);
        free(value);
    }
    buf_append_char(to, '}');
}

/* In the list, where there are no options, without what somebody wants to know of one channel only. */
static void look_append_channel(struct buf *json, const struct inspection *channel,
                                const uint64_t subscribers[TRANSPORT_COUNT], const struct options *options)
{
    const bool is_listed = !options;
    buf_append_text(json, "{\"channel\":");
    render_json_string(json, channel->name, channel->name_len);
    if (!is_listed) {
        buf_append_text(json, ",\"epoch\":\"");
        buf_append(json, channel->epoch.text, EPOCH_LEN);
        buf_append_char(json, '"');
    }
    look_append_u64(json, "messages", channel->messages);
    look_append_u64(json, "bytes", channel->bytes);
    if (!is_listed)
        look_append_id(json, "oldest", &channel->epoch, channel->oldest, channel->messages > 0);
    look_append_id(json, "newest", &channel->epoch, channel->top, channel->top > 0);
    look_append_last_published(json, channel->last_published_ms);
    look_append_subscribers(json, subscribers);
    if (!is_listed)
        look_append_options(json, options, (struct text){channel->name, channel->name_len});
    buf_append_char(json, '}');
}

static void look_surveyed(struct survey *survey)
{
    struct look *look = container_of(survey, struct look, survey);
    const struct inspection *channel = &look->request.channel;
    struct buf json = {0};
    look_append_channel(&json, channel, look->subscribers, look->exchange->shard->options);
    buf_append_char(&json, '\n');
    exchange_answer_json(look->exchange, MHD_HTTP_OK, &json);
    free(look);
}

static void look_visit(struct survey *survey, struct shard *shard)
{
    struct look *look = container_of(survey, struct look, survey);
    const struct inspection *channel = &look->request.channel;
    hub_count_subscriptions(&shard->hub, channel->name, channel->name_len, look->subscribers);
}

static void look_inspected(struct broker_request *super)
{
    struct look *look = container_of(super, struct look, request.super);
    if (super->error != ERROR_NONE)
        look_fail(look);
    else
        shard_ask_all(look->exchange->shard, &look->survey, look_visit, look_surveyed);
}

static void look_purged(struct broker_request *super)
{
    struct look *look = container_of(super, struct look, request.super);
    const struct inspection *channel = &look->request.channel;
    struct buf json = {0};
    if (super->error != ERROR_NONE) {
        look_fail(look);
        return;
    }
    buf_append_text(&json, "{\"channel\":");
    render_json_string(&json, channel->name, channel->name_len);
    look_append_u64(&json, "purged", channel->messages);
    buf_append_text(&json, "}\n");
    exchange_answer_json(look->exchange, MHD_HTTP_OK, &json);
    free(look);
}

void channel_handle(struct exchange *exchange)
{
    bool is_purge = exchange->method == METHOD_DELETE;
    if (is_purge && origin_refuses_change(exchange))
        return;
    void (*done)(struct broker_request * request) = is_purge ? look_purged : look_inspected;
    struct look *look = look_new(exchange);
    if (!look)
        return;
    exchange_suspend(exchange);
    if (hub_submit(&exchange->shard->hub, &look->request.super, is_purge ? BROKER_PURGE : BROKER_INSPECT,
                   done))
        done(&look->request.super);
}

/* The list. */

struct admin_listing {
    struct list_request request;
    struct survey survey;
    struct exchange *exchange;
    uint64_t (*subscribers)[TRANSPORT_COUNT]; /* for each entry */
};

static void listing_free(struct admin_listing *listing)
{
    free(listing->subscribers);
    free(listing->request.entries);
    free(listing);
}

static void listing_surveyed(struct survey *survey)
{
    struct admin_listing *listing = container_of(survey, struct admin_listing, survey);
    const struct list_request *request = &listing->request;
    struct buf json = {0};
    buf_append_text(&json, "{\"channels\":[");
    for (size_t i = 0; i < request->count; i++) {
        buf_append_text(&json, i > 0 ? ",\n" : "");
        look_append_channel(&json, &request->entries[i], listing->subscribers[i], NULL);
    }
    buf_append_char(&json, ']');
    if (request->has_more) {
        const struct inspection *last = &request->entries[request->count - 1];
        buf_append_text(&json, ",\"next\":");
        render_json_string(&json, last->name, last->name_len);
    }
    buf_append_text(&json, "}\n");
    exchange_answer_json(listing->exchange, MHD_HTTP_OK, &json);
    listing_free(listing);
}

static void listing_visit(struct survey *survey, struct shard *shard)
{
    struct admin_listing *listing = container_of(survey, struct admin_listing, survey);
    for (size_t i = 0; i < listing->request.count; i++) {
        const struct inspection *entry = &listing->request.entries[i];
        hub_count_subscriptions(&shard->hub, entry->name, entry->name_len, listing->subscribers[i]);
    }
}

static void listing_listed(struct broker_request *super)
{
    struct admin_listing *listing = container_of(super, struct admin_listing, request.super);
    enum error_code error = super->error;
    listing->subscribers = calloc(listing->request.count + 1, sizeof(*listing->subscribers));
    if (error == ERROR_NONE && !listing->subscribers)
        error = ERROR_OUT_OF_MEMORY;
    if (error == ERROR_NONE) {
        shard_ask_all(listing->exchange->shard, &listing->survey, listing_visit, listing_surveyed);
        return;
    }
    exchange_fail(listing->exchange, error, "%s", error_text(error));
    listing_free(listing);
}

static bool listing_read_name(struct exchange *exchange, const char *parameter, char to[CHANNEL_NAME_MAX + 1])
{
    struct text value = exchange_query(exchange, parameter);
    if (!value.bytes)
        return true;
    if (value.len > CHANNEL_NAME_MAX || memchr(value.bytes, '\0', value.len)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "%s must be the beginning of a channel name", parameter);
        return false;
    }
    memcpy(to, value.bytes, value.len + 1);
    return true;
}

static bool listing_read_options(struct exchange *exchange, struct list_request *request)
{
    uint64_t limit = LIST_LIMIT_PRESET;
    struct text value = exchange_query(exchange, "limit");
    if (value.bytes &&
        (number_parse_u64(&limit, value.bytes, value.len) || limit < 1 || limit > LIST_LIMIT_MAX)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "limit must be a number from 1 to %u", LIST_LIMIT_MAX);
        return false;
    }
    request->limit = limit;
    return listing_read_name(exchange, "prefix", request->prefix) &&
           listing_read_name(exchange, "after", request->after);
}

void channels_handle(struct exchange *exchange)
{
    struct admin_listing *listing = calloc(1, sizeof(*listing));
    if (!listing) {
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    listing->exchange = exchange;
    if (!listing_read_options(exchange, &listing->request)) {
        listing_free(listing);
        return;
    }
    exchange_suspend(exchange);
    if (hub_submit(&exchange->shard->hub, &listing->request.super, BROKER_LIST, listing_listed))
        listing_listed(&listing->request.super);
}
