/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "http/negotiation.h"
#include "http/router.h"
#include "http/routes.h"
#include "http/transport.h"

#define PADDING_MAX 65536u

/* The query parameter before Accept, for clients that cannot set headers. NULL and an answer when it names
 * nothing we have. */
static const struct transport *subscribe_choose(struct exchange *exchange)
{
    size_t len;
    const char *word = exchange_query(exchange, "transport", &len);
    const char *accept = exchange_field(exchange, FIELD_ACCEPT);
    if (!word)
        return negotiation_find_accepted(accept ? accept : "", accept ? strlen(accept) : 0);
    const struct transport *transport = negotiation_find_named(word, len);
    struct buf words = {0};
    if (!transport) {
        negotiation_append_words(&words);
        exchange_fail(exchange, ERROR_NOT_ACCEPTABLE, "transport must be %.*s, not '%.64s'", (int)words.len,
                      words.bytes, word);
    }
    buf_deinit(&words);
    return transport;
}

struct subscribe_reading {
    struct exchange *exchange;
    struct subscription_wish *wish;
    enum error_code error;
    const char *fault;
};

static void subscribe_add_channel(struct subscribe_reading *reading, const char *name, size_t len)
{
    struct subscription_wish *wish = reading->wish;
    if (reading->error != ERROR_NONE)
        return;
    reading->fault = channel_name_fault(name, len);
    if (reading->fault) {
        reading->error = ERROR_BAD_CHANNEL;
        return;
    }
    for (unsigned i = 0; i < wish->count; i++)
        if (wish->channels[i].len == len && memcmp(wish->channels[i].name, name, len) == 0)
            return;
    if (wish->count == CURSOR_CHANNELS_MAX)
        reading->error = ERROR_TOO_MANY_CHANNELS;
    else
        wish->channels[wish->count++] = (struct channel_reference){name, len};
}

static enum MHD_Result subscribe_visit_argument(void *cls, enum MHD_ValueKind kind, const char *name,
                                                size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    (void)name_len;
    if (strcmp(name, "channel") == 0)
        subscribe_add_channel(cls, value ? value : "", value ? value_len : 0);
    return MHD_YES;
}

static bool subscribe_read_channels(struct exchange *exchange, struct subscription_wish *wish)
{
    struct subscribe_reading reading = {.exchange = exchange, .wish = wish};
    size_t len;
    const char *name = router_name(exchange, &len);
    subscribe_add_channel(&reading, name, len);
    MHD_get_connection_values_n(exchange->connection, MHD_GET_ARGUMENT_KIND, subscribe_visit_argument,
                                &reading);
    if (reading.error == ERROR_BAD_CHANNEL)
        exchange_fail(exchange, ERROR_BAD_CHANNEL, "a channel name %s", reading.fault);
    else if (reading.error != ERROR_NONE)
        exchange_fail(exchange, reading.error, "a subscription names at most %u channels",
                      CURSOR_CHANNELS_MAX);
    return reading.error == ERROR_NONE;
}

/* If-None-Match holds the cursor quoted, weak or bare, and behind it what servers that compress have put
 * there: -gzip, --gzip, ;gzip, -br and the like. */
static void subscribe_strip_tag(const char **text, size_t *len)
{
    static const char *const codings[] = {"gzip", "br", "deflate", "zstd"};
    *text += strncmp(*text, "W/", 2) == 0 ? 2 : 0;
    *text += **text == '"' ? 1 : 0;
    *len = strcspn(*text, "\";");
    for (size_t i = 0; i < ARRAY_LENGTH(codings); i++) {
        size_t coding_len = strlen(codings[i]);
        if (*len <= coding_len || memcmp(*text + *len - coding_len, codings[i], coding_len) != 0)
            continue;
        for (*len -= coding_len; *len > 0 && (*text)[*len - 1] == '-'; --*len)
            ;
        return;
    }
}

/* The cursor that the request names first, and whether it is one that the client has chosen itself: a
 * Last-Event-ID is whatever the last server said, and be it the one before us. */
static const char *subscribe_find_cursor(const struct exchange *exchange, size_t *len, bool *is_chosen)
{
    const char *text = exchange_query(exchange, "since", len);
    *is_chosen = true;
    if (text && *len > 0)
        return text;
    text = exchange_field(exchange, FIELD_LAST_EVENT_ID);
    *is_chosen = !text || (*len = strlen(text)) == 0;
    if (!*is_chosen)
        return text;
    text = exchange_field(exchange, FIELD_IF_NONE_MATCH);
    if (!text)
        return NULL;
    subscribe_strip_tag(&text, len);
    return *len > 0 ? text : NULL;
}

static bool subscribe_read_cursor(struct exchange *exchange, struct start *start, const char *cursor,
                                  size_t len, bool is_chosen)
{
    int err = start_parse(start, cursor, len);
    if (err && !is_chosen) {
        start->kind = START_UNKNOWN;
        return true;
    }
    if (err)
        exchange_fail(exchange, ERROR_BAD_CURSOR, "%s",
                      err == -E2BIG ? "the cursor names more than 64 channels"
                                    : "the cursor must be as it was given (EPOCH-OFFSET, joined by '.'), "
                                      "or earliest, now or last=N");
    return err == 0;
}

static bool subscribe_read_start(struct exchange *exchange, struct subscription_wish *wish)
{
    size_t len;
    bool is_chosen;
    const char *cursor = subscribe_find_cursor(exchange, &len, &is_chosen);
    wish->start.kind = START_NOW;
    wish->has_cursor = cursor != NULL;
    if (cursor)
        return subscribe_read_cursor(exchange, &wish->start, cursor, len, is_chosen);
    const char *last = exchange_query(exchange, "last", &len);
    if (!last)
        return true;
    wish->start.kind = START_LAST;
    wish->has_cursor = true;
    if (number_parse_u64(&wish->start.last, last, len) == 0)
        return true;
    exchange_fail(exchange, ERROR_BAD_OPTION, "last must be a whole number");
    return false;
}

/* Prefer: wait=SECONDS (RFC 7240, section 4.3). */
static const char *subscribe_find_wait(const struct exchange *exchange, size_t *len)
{
    const char *wait = exchange_query(exchange, "wait", len);
    const char *prefer = wait ? NULL : exchange_field(exchange, FIELD_PREFER);
    const char *found = prefer ? strcasestr(prefer, "wait=") : NULL;
    if (!found)
        return wait;
    *len = strcspn(found + 5, ",; ");
    return found + 5;
}

static bool subscribe_read_options(struct exchange *exchange, struct subscription_wish *wish)
{
    const struct options *options = exchange->shard->options;
    size_t len;
    const char *wait = subscribe_find_wait(exchange, &len);
    wish->wait_ms = options->poll_wait_ms;
    if (wait && number_parse_duration_ms(&wish->wait_ms, wait, len)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "wait must be a number of seconds");
        return false;
    }
    if (wish->wait_ms > options->poll_wait_max_ms)
        wish->wait_ms = options->poll_wait_max_ms;
    const char *heartbeat = exchange_query(exchange, "heartbeat", &len);
    wish->wants_objects = heartbeat != NULL;
    if (heartbeat && strcmp(heartbeat, "json") != 0) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "heartbeat can only be json, for the NDJSON stream");
        return false;
    }
    const char *padding = exchange_query(exchange, "padding", &len);
    if (padding && (number_parse_u64(&wish->padding, padding, len) || wish->padding > PADDING_MAX)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "padding must be a number of bytes up to %u", PADDING_MAX);
        return false;
    }
    return true;
}

static void subscribe_answer_head(struct exchange *exchange, const struct transport *transport)
{
    struct MHD_Response *response = exchange_response("", 0, transport->content_type, false);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    exchange_answer(exchange, MHD_HTTP_OK, response);
}

void subscribe_handle(struct exchange *exchange)
{
    struct subscription_wish wish;
    wish.count = 0;
    wish.has_cursor = false;
    wish.wants_objects = false;
    wish.padding = 0;
    wish.start.count = 0;
    const struct transport *transport = subscribe_choose(exchange);
    if (!transport || !subscribe_read_channels(exchange, &wish) || !subscribe_read_start(exchange, &wish) ||
        !subscribe_read_options(exchange, &wish))
        return;
    if (exchange->method == METHOD_HEAD)
        wish.wait_ms = 0;
    if (exchange->method == METHOD_HEAD && transport->content_type)
        subscribe_answer_head(exchange, transport);
    else
        transport->begin(exchange, &wish);
}
