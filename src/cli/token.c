/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/claims.h"
#include "auth/key_file.h"
#include "auth/sign.h"
#include "auth/token.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/container.h"
#include "base/number.h"
#include "base/pattern.h"
#include "base/random.h"
#include "cli/cli.h"
#include "render/render.h"

#define TOKEN_ID_BYTES 16u
#define TOKEN_EXPIRES_DEFAULT "1h"

/* The words of the command line, in the order of token_flags. */
enum token_flag {
    TOKEN_KEY,
    TOKEN_ALG,
    TOKEN_KID,
    TOKEN_SUB,
    TOKEN_JTI,
    TOKEN_ISS,
    TOKEN_AUD,
    TOKEN_EXPIRES,
    TOKEN_SUBSCRIBE,
    TOKEN_PUBLISH,
    TOKEN_ADMIN,
    TOKEN_FLAG_COUNT
};

static const struct token_flag_facts {
    const char *word;
    bool has_value;
    bool is_repeatable;
} token_flags[TOKEN_FLAG_COUNT] = {
    [TOKEN_KEY] = {"--key", true, false},
    [TOKEN_ALG] = {"--alg", true, false},
    [TOKEN_KID] = {"--kid", true, false},
    [TOKEN_SUB] = {"--sub", true, false},
    [TOKEN_JTI] = {"--jti", true, false},
    [TOKEN_ISS] = {"--iss", true, false},
    [TOKEN_AUD] = {"--aud", true, false},
    [TOKEN_EXPIRES] = {"--expires", true, false},
    [TOKEN_SUBSCRIBE] = {"--subscribe", true, true},
    [TOKEN_PUBLISH] = {"--publish", true, true},
    [TOKEN_ADMIN] = {"--admin", false, false},
};

/* What is asked for. */
struct token_order {
    int argument_count;
    char **arguments;
    const char *values[TOKEN_FLAG_COUNT]; /* the last one of each; NULL when it is not given */
    enum algorithm algorithm;
    uint64_t life_ms; /* 0: without an end */
};

static int token_fail(const char *what, const char *why)
{
    fprintf(stderr, "sluice: token: %s %s\n", what, why);
    return CLI_EXIT_USAGE;
}

/* The flag at an argument, and its value, behind a = or in the next one, over which it steps. */
static enum token_flag token_read_flag(const struct token_order *order, int *index, const char **value)
{
    const char *argument = order->arguments[*index];
    size_t len = strcspn(argument, "=");
    for (enum token_flag flag = 0; flag < TOKEN_FLAG_COUNT; flag++) {
        const struct token_flag_facts *facts = &token_flags[flag];
        if (strlen(facts->word) != len || strncmp(facts->word, argument, len) != 0)
            continue;
        *value = argument[len] ? argument + len + 1 : NULL;
        if (facts->has_value && !*value && *index + 1 < order->argument_count)
            *value = order->arguments[++*index];
        return flag;
    }
    return TOKEN_FLAG_COUNT;
}

static int token_check_pattern(const char *pattern)
{
    const char *why = pattern_fault(text_of(pattern));
    if (!why)
        return 0;
    fprintf(stderr, "sluice: token: '%s' is no channel pattern: one %s\n", pattern, why);
    return CLI_EXIT_USAGE;
}

static int token_read_words(struct token_order *order)
{
    int status = 0;
    for (int i = 0; !status && i < order->argument_count; i++) {
        const char *word = order->arguments[i];
        const char *value;
        enum token_flag flag = token_read_flag(order, &i, &value);
        if (flag == TOKEN_FLAG_COUNT)
            return token_fail(word, "is none of its options, see sluice token --help");
        const struct token_flag_facts *facts = &token_flags[flag];
        if (facts->has_value != (value != NULL))
            return token_fail(facts->word, facts->has_value ? "needs a value" : "takes no value");
        if (order->values[flag] && !facts->is_repeatable)
            return token_fail(facts->word, "is given twice");
        if (facts->is_repeatable)
            status = token_check_pattern(value);
        order->values[flag] = value ? value : "";
    }
    return status;
}

static int token_check(struct token_order *order)
{
    const char *algorithm = order->values[TOKEN_ALG] ? order->values[TOKEN_ALG] : "HS256";
    const char *expires = order->values[TOKEN_EXPIRES] ? order->values[TOKEN_EXPIRES] : TOKEN_EXPIRES_DEFAULT;
    const char *kid = order->values[TOKEN_KID];
    order->algorithm = algorithm_find(text_of(algorithm));
    if (!order->values[TOKEN_KEY])
        return token_fail("--key", "FILE is needed: the secret for HS256, or a private key in PEM");
    if (order->algorithm == ALGORITHM_COUNT)
        return token_fail("--alg must be one of", algorithm_names);
    if (kid && (!kid[0] || strlen(kid) > VERIFIER_KID_MAX))
        return token_fail("--kid", "must have 1 to 255 bytes");
    if (strcmp(expires, "never") != 0 &&
        (number_parse_duration_ms(&order->life_ms, expires, strlen(expires)) || order->life_ms < 1000 ||
         order->life_ms / 1000 > CLAIM_TIME_MAX / 2))
        return token_fail("--expires", "must be a time from 1s on, as 90s, 1h or 30d, or never");
    return 0;
}

/* Claims. */

static void token_add_name(struct buf *claims, const char *name)
{
    buf_append_text(claims, claims->bytes[claims->len - 1] == '{' ? "\"" : ",\"");
    buf_append_text(claims, name);
    buf_append_text(claims, "\":");
}

static void token_add_text(struct buf *claims, const char *name, const char *value)
{
    if (!value)
        return;
    token_add_name(claims, name);
    render_json_string(claims, value, strlen(value));
}

static void token_add_time(struct buf *claims, const char *name, uint64_t time_s)
{
    token_add_name(claims, name);
    buf_append_u64(claims, time_s);
}

static void token_add_patterns(struct buf *claims, const struct token_order *order, enum token_flag wanted)
{
    const char *separator = "";
    if (!order->values[wanted])
        return;
    token_add_name(claims, token_flags[wanted].word + strlen("--"));
    buf_append_char(claims, '[');
    for (int i = 0; i < order->argument_count; i++) {
        const char *value;
        if (token_read_flag(order, &i, &value) != wanted)
            continue;
        buf_append_text(claims, separator);
        render_json_string(claims, value, strlen(value));
        separator = ",";
    }
    buf_append_char(claims, ']');
}

/* Every token gets an id, by which it can be revoked. */
static void token_add_id(struct buf *claims, const char *given)
{
    uint64_t bits[TOKEN_ID_BYTES / sizeof(uint64_t)] = {random_next(), random_next()};
    char id[2 * TOKEN_ID_BYTES];
    base64_url_encode(id, (const char *)bits, sizeof(bits));
    token_add_text(claims, "jti", given ? given : id);
}

static void token_write_claims(struct buf *claims, const struct token_order *order)
{
    uint64_t now_s = (uint64_t)clock_wall_ms() / 1000;
    buf_append_char(claims, '{');
    if (claims->has_failed)
        return;
    token_add_text(claims, "sub", order->values[TOKEN_SUB]);
    token_add_id(claims, order->values[TOKEN_JTI]);
    token_add_text(claims, "iss", order->values[TOKEN_ISS]);
    token_add_text(claims, "aud", order->values[TOKEN_AUD]);
    token_add_time(claims, "iat", now_s);
    if (order->life_ms > 0)
        token_add_time(claims, "exp", now_s + order->life_ms / 1000);
    token_add_name(claims, "sluice");
    buf_append_char(claims, '{');
    token_add_patterns(claims, order, TOKEN_SUBSCRIBE);
    token_add_patterns(claims, order, TOKEN_PUBLISH);
    if (order->values[TOKEN_ADMIN]) {
        token_add_name(claims, "admin");
        buf_append_text(claims, "true");
    }
    buf_append_text(claims, "}}");
}

static int token_print(const struct token_order *order, const struct key_file *file)
{
    char why[VERIFIER_FAULT_MAX] = "cannot be signed with: no memory";
    const struct text secret = {file->bytes.len > 0 ? file->bytes.bytes : "", file->bytes.len};
    struct buf claims = {0};
    char *token = NULL;
    token_write_claims(&claims, order);
    int err = claims.has_failed ? -1
                                : token_sign(&token, order->algorithm, text_of(order->values[TOKEN_KID]),
                                             secret, (struct text){claims.bytes, claims.len}, why);
    buf_deinit(&claims);
    if (err)
        fprintf(stderr, "sluice: token: the file %s %s\n", order->values[TOKEN_KEY], why);
    else if (strlen(token) > TOKEN_MAX)
        err = token_fail("it has more bytes than", "a server takes; give it fewer patterns");
    else
        puts(token);
    free(token);
    return err ? CLI_EXIT_USAGE : 0;
}

int cli_token(int argument_count, char **arguments, char **environment)
{
    struct token_order order = {.argument_count = argument_count, .arguments = arguments};
    char why[KEY_FILE_FAULT_MAX];
    struct key_file file;
    (void)environment; /* same signature as the other subcommands */
    int status = token_read_words(&order);
    if (!status)
        status = token_check(&order);
    if (status)
        return status;
    if (random_init())
        return CLI_EXIT_FAILED;
    if (key_file_read(&file, order.values[TOKEN_KEY], why)) {
        fprintf(stderr, "sluice: token: the file %s %s\n", order.values[TOKEN_KEY], why);
        return CLI_EXIT_USAGE;
    }
    status = token_print(&order, &file);
    key_file_deinit(&file);
    return status;
}
