/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "http/identity.h"
#include "http/negotiation.h"
#include "http/query.h"
#include "http/refusal.h"
#include "http/router.h"
#include "http/routes.h"
#include "http/transport.h"
#include "render/script.h"
#include "shard/rates.h"

#define PADDING_MAX 65536u

/* The query parameter before everything else, for clients that cannot set headers. NULL and an answer when it
 * names nothing we have. */
static const struct transport *subscribe_choose(struct exchange *exchange)
{
    struct text word = exchange_query(exchange, "transport");
    struct text accept = text_of(exchange_field(exchange, FIELD_ACCEPT));
    if (!word.bytes) {
        const struct transport *asked =
            exchange->method == METHOD_GET ? negotiation_find_asked(exchange) : NULL;
        return asked ? asked : negotiation_find_accepted(accept.bytes, accept.len);
    }
    const struct transport *transport = negotiation_find_named(word.bytes, word.len);
    struct buf words = {0};
    if (!transport) {
        negotiation_append_words(&words);
        exchange_fail(exchange, ERROR_NOT_ACCEPTABLE, "transport must be %.*s, not '%.64s'", (int)words.len,
                      words.bytes, word.bytes);
    }
    buf_deinit(&words);
    return transport;
}

/* Scripts run wherever a page names them: without the option there are none. */
static bool subscribe_allow(struct exchange *exchange, const struct transport *transport)
{
    bool calls = transport->call != NULL;
    if (calls && !exchange->shard->options->legacy)
        exchange_fail(exchange, ERROR_NOT_ACCEPTABLE,
                      "transport=%s is off here: the server's option legacy = yes lets it be used",
                      transport->words[0]);
    else if (calls && !script_callback_is_valid(exchange_query(exchange, "callback")))
        exchange_fail(exchange, ERROR_BAD_OPTION,
                      "transport=%s needs callback=NAME, the name of a function: " SCRIPT_CALLBACK_RULE,
                      transport->words[0]);
    else
        exchange->transport = transport;
    return exchange->transport != NULL;
}

/* A feed without what a misspelt parameter asks for would say nothing of it: the messages of a channel would
 * be missing, or those behind a cursor. Nobody reads what libraries add to get past caches (`r`, `t`, `_`) or
 * to ask for a preamble. */
static bool subscribe_refuses_query(struct exchange *exchange)
{
    static const char *const names[] = {
        "channel",   "since",    "last",  "wait",        "transport",         "format", "policy", "padding",
        "heartbeat", "callback", "token", "lastEventId", "evs_last_event_id", "as",     "info",   NULL};
    static const char *const harmless[] = {"r", "t", "evs_preamble", NULL};
    return query_refuses(exchange, &(const struct query_rules){"receiving", names, harmless});
}

struct subscribe_reading {
    struct subscription_wish *wish;
    unsigned most;
    unsigned wild; /* names that stand for what is below */
    enum error_code error;
    const char *fault;
};

static void subscribe_add_channel(struct subscribe_reading *reading, struct text name)
{
    struct subscription_wish *wish = reading->wish;
    if (reading->error != ERROR_NONE)
        return;
    reading->fault = channel_wish_fault(name);
    if (reading->fault) {
        reading->error = ERROR_BAD_CHANNEL;
        return;
    }
    for (unsigned i = 0; i < wish->count; i++)
        if (text_equals(wish->channels[i], name))
            return;
    reading->wild += channel_name_is_wild(name);
    if (wish->count == reading->most || reading->wild > CURSOR_PATTERNS_MAX)
        reading->error = ERROR_TOO_MANY_CHANNELS;
    else
        wish->channels[wish->count++] = name;
}

static enum MHD_Result subscribe_visit_argument(void *cls, enum MHD_ValueKind kind, const char *name,
                                                size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    (void)name_len;
    if (strcmp(name, "channel") == 0)
        subscribe_add_channel(cls, (struct text){value, value_len});
    return MHD_YES;
}

static bool subscribe_read_channels(struct exchange *exchange, struct subscription_wish *wish)
{
    uint64_t most = exchange->shard->options->max_channels_per_connection;
    struct subscribe_reading reading = {
        .wish = wish, .most = most < CURSOR_CHANNELS_MAX ? (unsigned)most : CURSOR_CHANNELS_MAX};
    subscribe_add_channel(&reading, router_name(exchange));
    MHD_get_connection_values_n(exchange->connection, MHD_GET_ARGUMENT_KIND, subscribe_visit_argument,
                                &reading);
    if (reading.error == ERROR_BAD_CHANNEL)
        exchange_fail(exchange, ERROR_BAD_CHANNEL, "a channel name %s", reading.fault);
    else if (reading.error != ERROR_NONE)
        exchange_fail(exchange, reading.error,
                      "a subscription names at most %u channels, %u of them with " CHANNEL_BELOW
                      " at their end",
                      reading.most, CURSOR_PATTERNS_MAX);
    return reading.error == ERROR_NONE;
}

/* If-None-Match holds the cursor quoted, weak or bare, and behind it what servers that compress have put
 * there: -gzip, --gzip, ;gzip, -br and the like. */
static struct text subscribe_strip_tag(const char *text)
{
    static const char *const codings[] = {"gzip", "br", "deflate", "zstd"};
    text += strncmp(text, "W/", 2) == 0 ? 2 : 0;
    text += *text == '"' ? 1 : 0;
    struct text tag = {text, strcspn(text, "\";")};
    for (size_t i = 0; i < ARRAY_LENGTH(codings); i++) {
        if (tag.len == strlen(codings[i]) || !text_ends(tag, codings[i]))
            continue;
        for (tag.len -= strlen(codings[i]); text_ends(tag, "-"); tag.len--)
            ;
        break;
    }
    return tag;
}

/* What an EventSource has seen last. Those that are made of an XMLHttpRequest say it in the query, where it
 * needs no preflight. */
static struct text subscribe_find_last_event(const struct exchange *exchange)
{
    struct text text = text_of(exchange_field(exchange, FIELD_LAST_EVENT_ID));
    if (text.len == 0)
        text = exchange_query(exchange, "lastEventId");
    return text.len > 0 ? text : exchange_query(exchange, "evs_last_event_id");
}

/* The cursor that the request names first, and whether it is one that the client has chosen itself: a
 * Last-Event-ID is whatever the last server said, and be it the one before us. */
static struct text subscribe_find_cursor(const struct exchange *exchange, bool *is_chosen)
{
    struct text text = exchange_query(exchange, "since");
    *is_chosen = true;
    if (text.len > 0)
        return text;
    text = subscribe_find_last_event(exchange);
    *is_chosen = text.len == 0;
    if (!*is_chosen)
        return text;
    const char *tag = exchange_field(exchange, FIELD_IF_NONE_MATCH);
    return tag ? subscribe_strip_tag(tag) : (struct text){0};
}

static bool subscribe_read_cursor(struct exchange *exchange, struct start *start, struct text cursor,
                                  bool is_chosen)
{
    int err = start_parse(start, cursor.bytes, cursor.len);
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
    bool is_chosen;
    struct text cursor = subscribe_find_cursor(exchange, &is_chosen);
    wish->start.kind = START_NOW;
    wish->has_cursor = cursor.len > 0;
    if (wish->has_cursor)
        return subscribe_read_cursor(exchange, &wish->start, cursor, is_chosen);
    struct text last = exchange_query(exchange, "last");
    if (!last.bytes)
        return true;
    wish->start.kind = START_LAST;
    wish->has_cursor = true;
    if (number_parse_u64(&wish->start.last, last.bytes, last.len) == 0)
        return true;
    exchange_fail(exchange, ERROR_BAD_OPTION, "last must be a whole number");
    return false;
}

/* Prefer: wait=SECONDS (RFC 7240, section 4.3). */
static struct text subscribe_find_wait(const struct exchange *exchange)
{
    struct text wait = exchange_query(exchange, "wait");
    const char *prefer = wait.bytes ? NULL : exchange_field(exchange, FIELD_PREFER);
    const char *found = prefer ? strcasestr(prefer, "wait=") : NULL;
    return found ? (struct text){found + 5, strcspn(found + 5, ",; ")} : wait;
}

static bool subscribe_read_options(struct exchange *exchange, struct subscription_wish *wish)
{
    const struct options *options = exchange->shard->options;
    struct text wait = subscribe_find_wait(exchange);
    wish->wait_ms = options->poll_wait_ms;
    if (wait.bytes && number_parse_duration_ms(&wish->wait_ms, wait.bytes, wait.len)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "wait must be a number of seconds");
        return false;
    }
    if (wish->wait_ms > options->poll_wait_max_ms)
        wish->wait_ms = options->poll_wait_max_ms;
    struct text heartbeat = exchange_query(exchange, "heartbeat");
    wish->wants_objects = heartbeat.bytes != NULL;
    if (heartbeat.bytes && !text_is(heartbeat, "json")) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "heartbeat can only be json, for the NDJSON stream");
        return false;
    }
    struct text policy = exchange_query(exchange, "policy");
    if (policy.bytes && subscriber_policy_parse(&wish->policy, policy)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "policy must be " POLICY_WORDS);
        return false;
    }
    struct text padding = exchange_query(exchange, "padding");
    if (padding.bytes &&
        (number_parse_u64(&wish->padding, padding.bytes, padding.len) || wish->padding > PADDING_MAX)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "padding must be a number of bytes up to %u", PADDING_MAX);
        return false;
    }
    return true;
}

/* All channels or none. */
static bool subscribe_admit(struct exchange *exchange, const struct transport *transport,
                            struct subscription_wish *wish)
{
    char fault[AUTH_FAULT_MAX];
    for (unsigned i = 0; i < wish->count; i++) {
        enum error_code error = identity_check(exchange, ACCESS_SUBSCRIBE, wish->channels[i], fault);
        if (error == ERROR_NONE)
            continue;
        wish->awaits_token = error_status(error) == MHD_HTTP_UNAUTHORIZED && transport->asks_for_token &&
                             identity_is_open(exchange);
        if (wish->awaits_token)
            continue;
        refusal_answer_saying(exchange, error, transport, fault);
        return false;
    }
    return true;
}

/* All channels or none. */
static bool subscribe_is_in_time(struct exchange *exchange, const struct transport *transport,
                                 const struct subscription_wish *wish)
{
    char fault[PUBLISH_FAULT_MAX];
    const struct asker by = rates_asker(&exchange->client->key, exchange->bearer.grant);
    enum error_code error = ERROR_NONE;
    for (unsigned i = 0; error == ERROR_NONE && i < wish->count; i++)
        error = rates_ask_subscription(exchange->shard, &by, wish->channels[i], wish->count,
                                       &exchange->retry_after_s, fault);
    if (error != ERROR_NONE) {
        refusal_answer_saying(exchange, error, transport, fault);
        return false;
    }
    for (unsigned i = 0; i < wish->count; i++)
        rates_take_subscription(exchange->shard, &by, wish->channels[i]);
    return true;
}

static struct text subscribe_find_said(const struct exchange *exchange, const char *parameter,
                                       enum exchange_field field)
{
    struct text said = exchange_query(exchange, parameter);
    return said.bytes ? said : text_of(exchange_field(exchange, field));
}

static bool subscribe_follows_any(const struct exchange *exchange, const struct subscription_wish *wish)
{
    for (unsigned i = 0; i < wish->count; i++)
        if (hub_follows(&exchange->shard->hub, wish->channels[i]))
            return true;
    return false;
}

/* Who asks, where somebody wants to know. */
static bool subscribe_read_persona(struct exchange *exchange, struct subscription_wish *wish)
{
    char fault[PERSONA_FAULT_MAX];
    struct text as = subscribe_find_said(exchange, "as", FIELD_SLUICE_AS);
    struct text info = subscribe_find_said(exchange, "info", FIELD_SLUICE_INFO);
    enum error_code error = persona_check(as, &info, fault);
    if (error != ERROR_NONE) {
        exchange_fail(exchange, error, "%s", fault);
        return false;
    }
    if (!subscribe_follows_any(exchange, wish))
        return true;
    struct persona *given = persona_new(as, info);
    wish->persona = wish->awaits_token ? persona_ref(given) : bearer_introduce(&exchange->bearer, given);
    persona_unref(given);
    if (!wish->persona)
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
    return wish->persona != NULL;
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
    wish.policy = POLICY_OF_CHANNEL;
    wish.awaits_token = false;
    wish.padding = 0;
    wish.start.count = 0;
    wish.persona = NULL;
    const struct transport *transport = subscribe_choose(exchange);
    if (!transport || !subscribe_allow(exchange, transport) || subscribe_refuses_query(exchange) ||
        !subscribe_read_channels(exchange, &wish) || !subscribe_read_start(exchange, &wish) ||
        !subscribe_read_options(exchange, &wish) || !subscribe_admit(exchange, transport, &wish) ||
        !subscribe_is_in_time(exchange, transport, &wish) || !subscribe_read_persona(exchange, &wish))
        return;
    if (exchange->method == METHOD_HEAD)
        wish.wait_ms = 0;
    if (exchange->method == METHOD_HEAD && transport->content_type)
        subscribe_answer_head(exchange, transport);
    else
        transport->begin(exchange, &wish);
    persona_unref(wish.persona);
}
