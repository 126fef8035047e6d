/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/declaration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/number.h"

#define PRESET_LIMIT_BYTES (128u << 10)
#define LIMIT_LEAST_BYTES 1u
#define LIMIT_MOST_BYTES (1u << 30)
#define PRESET_DELAY_MS 5000u
#define DELAY_LEAST_MS 100u
#define DELAY_MOST_MS (24u * 3600000u)
#define PRESET_CLIENT "/sockjs.min.js"
/* Goes into an attribute of a page. */
#define CLIENT_ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$()*+,;=%"
#define CLIENT_MAX 1024u

/* Paths that are HTTP's own, by their first segment. */
static const char *const taken_segments[] = {"channels", "api", "metrics", "healthz", "readyz", "ws"};

static int set_prefix(struct pairs *pairs, const char *word)
{
    struct sockjs_declaration *declaration = pairs->context;
    const char *fault = word[0] == '/' ? channel_name_fault(word + 1, strlen(word + 1)) : "begins with /";
    if (fault)
        return pairs_fail(pairs, "a prefix is a path as /sockjs, which %s: %.100s", fault, word);
    struct text first = {word + 1, strcspn(word + 1, "/")};
    if (text_index(first, taken_segments, ARRAY_LENGTH(taken_segments)) < ARRAY_LENGTH(taken_segments))
        return pairs_fail(pairs, "the paths below /%.*s are taken; choose another prefix", (int)first.len,
                          first.bytes);
    declaration->prefix = strdup(word);
    return declaration->prefix ? 0 : -ENOMEM;
}

static int set_app(struct pairs *pairs, const char *value)
{
    static const char *const words[APP_PUBLISH] = {
        [APP_COMMANDS] = "commands", [APP_ECHO] = "echo", [APP_CLOSE] = "close"};
    struct sockjs_declaration *declaration = pairs->context;
    unsigned app;
    int err = channel_or_word_read(pairs, &app, &declaration->publish_to, words, APP_PUBLISH,
                                   "app is commands, echo, close or publish:CHANNEL", value);
    declaration->app = (enum sockjs_app)app;
    return err;
}

static int set_feed(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    return name_list_read(pairs, &declaration->feed, "feed", value);
}

static int set_websocket(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    return pairs_read_boolean(pairs, &declaration->has_websocket, "websocket", value);
}

static int set_cookie(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    return pairs_read_boolean(pairs, &declaration->needs_cookie, "cookie", value);
}

static int set_legacy(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    return pairs_read_boolean(pairs, &declaration->is_legacy, "legacy", value);
}

static int set_limit(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    uint64_t *limit = &declaration->response_limit_bytes;
    if (number_parse_bytes(limit, value, strlen(value)) || *limit < LIMIT_LEAST_BYTES ||
        *limit > LIMIT_MOST_BYTES)
        return pairs_fail(pairs, "response-limit is a number of bytes from 1 to 1GiB, not '%.100s'", value);
    return 0;
}

static int set_delay(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    uint64_t *delay_ms = &declaration->disconnect_delay_ms;
    if (number_parse_duration_ms(delay_ms, value, strlen(value)) || *delay_ms < DELAY_LEAST_MS ||
        *delay_ms > DELAY_MOST_MS)
        return pairs_fail(pairs, "disconnect-delay is a time from 100ms to 24h, not '%.100s'", value);
    return 0;
}

static int set_client(struct pairs *pairs, const char *value)
{
    struct sockjs_declaration *declaration = pairs->context;
    size_t len = strlen(value);
    bool is_url = value[0] == '/' || strncmp(value, "http", 4) == 0;
    if (!is_url || len > CLIENT_MAX || strspn(value, CLIENT_ALPHABET) != len)
        return pairs_fail(pairs, "client is the URL of sockjs-client's script, not '%.100s'", value);
    declaration->client_url = strdup(value);
    return declaration->client_url ? 0 : -ENOMEM;
}

static const struct pairs_key declaration_keys[] = {{"app", set_app},
                                                    {"feed", set_feed},
                                                    {"websocket", set_websocket},
                                                    {"cookie", set_cookie},
                                                    {"response-limit", set_limit},
                                                    {"disconnect-delay", set_delay},
                                                    {"legacy", set_legacy},
                                                    {"client", set_client}};

static int check(struct pairs *pairs)
{
    struct sockjs_declaration *declaration = pairs->context;
    if (declaration->app == APP_CLOSE && declaration->feed.count > 0)
        return pairs_fail(pairs, "feed is not for app=close, which tells nothing");
    if (!declaration->client_url)
        declaration->client_url = strdup(PRESET_CLIENT);
    return declaration->client_url ? 0 : -ENOMEM;
}

int sockjs_declaration_parse(struct sockjs_declaration *declaration, const char *text,
                             char fault[PAIRS_FAULT_MAX])
{
    static const struct pairs_form form = {
        .noun = "prefix",
        .missing = "a prefix is missing, as /sockjs",
        .set_first = set_prefix,
        .keys = declaration_keys,
        .key_count = ARRAY_LENGTH(declaration_keys),
        .check = check,
    };
    *declaration = (struct sockjs_declaration){.has_websocket = true,
                                               .response_limit_bytes = PRESET_LIMIT_BYTES,
                                               .disconnect_delay_ms = PRESET_DELAY_MS};
    int err = pairs_parse(declaration, text, &form, fault);
    if (err)
        sockjs_declaration_deinit(declaration);
    return err;
}

void sockjs_declaration_deinit(struct sockjs_declaration *declaration)
{
    free(declaration->prefix);
    free(declaration->client_url);
    name_list_deinit(&declaration->feed);
    *declaration = (struct sockjs_declaration){0};
}
