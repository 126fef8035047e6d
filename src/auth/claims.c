/* SPDX-License-Identifier: MIT */
#include "auth/claims.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/token.h"
#include "base/json_object.h"
#include "base/pattern.h"

#define NUMBER_TEXT_MAX 40u

static_assert(JSON_OBJECT_FAULT_MAX <= AUTH_FAULT_MAX, "a fault of JSON fits");

enum claim { CLAIM_SUB, CLAIM_JTI, CLAIM_ISS, CLAIM_AUD, CLAIM_EXP, CLAIM_NBF, CLAIM_IAT, CLAIM_SLUICE };
static const char *const claim_names[] = {"sub", "jti", "iss", "aud", "exp", "nbf", "iat", "sluice", NULL};

enum right { RIGHT_SUBSCRIBE, RIGHT_PUBLISH, RIGHT_ADMIN, RIGHT_COUNT };
static const char *const right_names[] = {"subscribe", "publish", "admin", NULL};

struct claims {
    struct json_object object;
    struct json_object rights;
    const struct options *options;
    int64_t now_ms;
    char *fault;
};

__attribute__((format(printf, 3, 4))) static enum error_code
claims_refuse(struct claims *claims, enum error_code error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(claims->fault, AUTH_FAULT_MAX, format, arguments);
    va_end(arguments);
    return error;
}

static enum error_code claims_fail_memory(struct claims *claims)
{
    return claims_refuse(claims, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
}

static bool claims_is_printable(struct text text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
            return false;
    return true;
}

/* A string; without bytes when it is absent. */
static enum error_code claims_read_string(struct claims *claims, enum claim claim, struct text *string)
{
    int err = json_object_string(&claims->object, claim, string, claims->fault);
    if (err)
        return err == -ENOMEM ? claims_fail_memory(claims) : ERROR_BAD_TOKEN;
    return ERROR_NONE;
}

/* A name that is told to others and shown in logs. */
static enum error_code claims_read_name(struct claims *claims, enum claim claim, struct text *name)
{
    enum error_code error = claims_read_string(claims, claim, name);
    if (!error && (name->len > CLAIM_TEXT_MAX || !claims_is_printable(*name)))
        return claims_refuse(claims, ERROR_BAD_TOKEN,
                             "\"%s\" must have at most %u bytes without control characters",
                             claim_names[claim], CLAIM_TEXT_MAX);
    return error;
}

/* Times. */

/* A NumericDate: seconds since 1970, perhaps with a fraction; INT64_MIN when it is absent. */
static enum error_code claims_read_time(struct claims *claims, enum claim claim, int64_t *time_ms)
{
    const struct text value = claims->object.values[claim];
    char number[NUMBER_TEXT_MAX + 1];
    *time_ms = INT64_MIN;
    if (!value.bytes)
        return ERROR_NONE;
    bool is_number = (value.bytes[0] >= '0' && value.bytes[0] <= '9') && value.len <= NUMBER_TEXT_MAX;
    double seconds = -1;
    if (is_number) {
        memcpy(number, value.bytes, value.len);
        number[value.len] = '\0';
        seconds = strtod(number, NULL);
    }
    if (!(seconds >= 0 && seconds <= (double)CLAIM_TIME_MAX))
        return claims_refuse(claims, ERROR_BAD_TOKEN, "\"%s\" must be a number of seconds since 1970",
                             claim_names[claim]);
    *time_ms = (int64_t)(seconds * 1000);
    return ERROR_NONE;
}

static enum error_code claims_judge_times(struct claims *claims, struct grant *grant)
{
    int64_t expires_ms;
    int64_t begins_ms;
    int64_t now_ms = claims->now_ms;
    enum error_code error = claims_read_time(claims, CLAIM_EXP, &expires_ms);
    if (!error)
        error = claims_read_time(claims, CLAIM_NBF, &begins_ms);
    if (!error)
        error = claims_read_time(claims, CLAIM_IAT, &grant->issued_ms);
    if (error)
        return error;
    if (expires_ms != INT64_MIN) {
        grant->expires_ms = expires_ms + TOKEN_LEEWAY_MS;
        if (grant->expires_ms <= now_ms)
            return claims_refuse(claims, ERROR_TOKEN_EXPIRED, "the token has expired %lld seconds ago",
                                 (long long)(now_ms - expires_ms) / 1000);
    }
    /* A token from the future was issued by a clock that is wrong, or to outlive its revocation. */
    int64_t from_ms = begins_ms > grant->issued_ms ? begins_ms : grant->issued_ms;
    if (from_ms != INT64_MIN && from_ms > now_ms + TOKEN_LEEWAY_MS)
        return claims_refuse(claims, ERROR_TOKEN_NOT_YET,
                             "the token is good from %lld seconds on, by this server's clock",
                             (long long)(from_ms - now_ms) / 1000);
    return ERROR_NONE;
}

/* Issuer and audience. */

static bool claims_list_has(const struct string_list *list, struct text text)
{
    for (size_t i = 0; i < list->count; i++)
        if (text_is(text, list->items[i]))
            return true;
    return false;
}

static enum error_code claims_judge_issuer(struct claims *claims)
{
    struct text issuer;
    enum error_code error = claims_read_string(claims, CLAIM_ISS, &issuer);
    if (error || claims->options->jwt_issuer.count == 0)
        return error;
    if (!issuer.bytes)
        return claims_refuse(claims, ERROR_WRONG_ISSUER,
                             "the token has no \"iss\", and this server wants one");
    return claims_list_has(&claims->options->jwt_issuer, issuer)
               ? ERROR_NONE
               : claims_refuse(claims, ERROR_WRONG_ISSUER,
                               "the token's \"iss\" is not one that this server trusts");
}

/* Whether an element of the array, or the string by itself, is one of ours. */
static enum error_code claims_find_audience(struct claims *claims, struct text value, bool *is_ours)
{
    struct json_value *decoded = NULL;
    if (value.bytes[0] != '"')
        return claims_refuse(claims, ERROR_BAD_TOKEN, "\"aud\" must be a string or an array of strings");
    struct text audience = json_string_text(value, &decoded);
    bool has_failed = !audience.bytes;
    *is_ours |= !has_failed && claims_list_has(&claims->options->jwt_audience, audience);
    json_value_free(decoded);
    return has_failed ? claims_fail_memory(claims) : ERROR_NONE;
}

static enum error_code claims_judge_audience(struct claims *claims)
{
    const struct text value = claims->object.values[CLAIM_AUD];
    enum error_code error = ERROR_NONE;
    struct json_walk walk;
    unsigned count = 0;
    bool is_ours = false;
    if (!value.bytes && claims->options->jwt_audience.count == 0)
        return ERROR_NONE;
    if (!value.bytes)
        return claims_refuse(claims, ERROR_WRONG_AUDIENCE,
                             "the token has no \"aud\", and this server wants one");
    if (value.bytes[0] != '[')
        error = claims_find_audience(claims, value, &is_ours);
    else
        for (json_walk_begin(&walk, value); !error && json_walk_next(&walk);)
            error = ++count > CLAIM_AUDIENCES_MAX
                        ? claims_refuse(claims, ERROR_BAD_TOKEN, "\"aud\" has more than %u elements",
                                        CLAIM_AUDIENCES_MAX)
                        : claims_find_audience(claims, walk.value, &is_ours);
    if (error || is_ours)
        return error;
    /* RFC 7519, section 4.1.3: who does not find himself in it must refuse the token. */
    return claims->options->jwt_audience.count == 0
               ? claims_refuse(claims, ERROR_WRONG_AUDIENCE,
                               "the token has an \"aud\", and this server has no jwt-audience")
               : claims_refuse(claims, ERROR_WRONG_AUDIENCE, "the token's \"aud\" does not name this server");
}

/* Rights. */

static enum error_code claims_count_patterns(struct claims *claims, enum right right, size_t *count,
                                             size_t *size)
{
    const struct text value = claims->rights.values[right];
    struct json_walk walk;
    if (value.bytes[0] != '[')
        return claims_refuse(claims, ERROR_BAD_TOKEN,
                             "\"%s\" of \"sluice\" must be an array of channel patterns", right_names[right]);
    for (json_walk_begin(&walk, value); json_walk_next(&walk); ++*count) {
        if (*count == CLAIM_PATTERNS_MAX)
            return claims_refuse(claims, ERROR_BAD_TOKEN, "\"%s\" of \"sluice\" has more than %u patterns",
                                 right_names[right], CLAIM_PATTERNS_MAX);
        if (walk.value.bytes[0] != '"')
            return claims_refuse(claims, ERROR_BAD_TOKEN,
                                 "\"%s\" of \"sluice\" must be an array of channel patterns",
                                 right_names[right]);
        *size += walk.value.len; /* escapes only become shorter */
    }
    return ERROR_NONE;
}

static enum error_code claims_add_pattern(struct claims *claims, enum right right, struct grant_patterns *to,
                                          struct text string, char **bytes)
{
    struct json_value *decoded = NULL;
    struct text pattern = json_string_text(string, &decoded);
    const char *why = pattern.bytes ? pattern_fault(pattern) : NULL;
    enum error_code error = ERROR_NONE;
    if (!pattern.bytes) {
        error = claims_fail_memory(claims);
    } else if (why) {
        error = claims_refuse(claims, ERROR_BAD_TOKEN, "pattern %zu of \"%s\": a channel pattern %s",
                              to->count + 1, right_names[right], why);
    } else {
        memcpy(*bytes, pattern.bytes, pattern.len);
        to->items[to->count++] = (struct text){*bytes, pattern.len};
        *bytes += pattern.len;
    }
    json_value_free(decoded);
    return error;
}

static enum error_code claims_read_patterns(struct claims *claims, enum right right,
                                            struct grant_patterns *to)
{
    const struct text value = claims->rights.values[right];
    struct json_walk walk;
    size_t count = 0;
    size_t size = 0;
    if (!value.bytes)
        return ERROR_NONE;
    enum error_code error = claims_count_patterns(claims, right, &count, &size);
    if (error || count == 0)
        return error;
    to->items = malloc(count * sizeof(*to->items) + size);
    if (!to->items)
        return claims_fail_memory(claims);
    char *bytes = (char *)(to->items + count);
    for (json_walk_begin(&walk, value); !error && json_walk_next(&walk);)
        error = claims_add_pattern(claims, right, to, walk.value, &bytes);
    return error;
}

/* A member that this server does not know may be a limit that a newer one keeps to, so it is refused, not
 * passed over. */
static enum error_code claims_read_rights(struct claims *claims, struct grant *grant)
{
    const struct text value = claims->object.values[CLAIM_SLUICE];
    if (!value.bytes)
        return ERROR_NONE;
    json_object_read(&claims->rights, value, right_names);
    int err =
        json_object_check(&claims->rights, (1u << RIGHT_COUNT) - 1, "the claim \"sluice\"", claims->fault);
    if (err)
        return err == -ENOMEM ? claims_fail_memory(claims) : ERROR_BAD_TOKEN;
    struct text admin = claims->rights.values[RIGHT_ADMIN];
    if (admin.bytes && !text_is(admin, "true") && !text_is(admin, "false"))
        return claims_refuse(claims, ERROR_BAD_TOKEN, "\"admin\" of \"sluice\" must be true or false");
    grant->is_admin = admin.bytes && text_is(admin, "true");
    enum error_code error = claims_read_patterns(claims, RIGHT_SUBSCRIBE, &grant->subscribe);
    return error ? error : claims_read_patterns(claims, RIGHT_PUBLISH, &grant->publish);
}

static enum error_code claims_make(struct claims *claims, struct grant **grant)
{
    struct text subject;
    struct text id;
    enum error_code error = claims_read_name(claims, CLAIM_SUB, &subject);
    if (!error)
        error = claims_read_name(claims, CLAIM_JTI, &id);
    if (error)
        return error;
    *grant = grant_new(subject, id);
    if (!*grant)
        return claims_fail_memory(claims);
    error = claims_judge_times(claims, *grant);
    if (!error)
        error = claims_judge_issuer(claims);
    if (!error)
        error = claims_judge_audience(claims);
    return error ? error : claims_read_rights(claims, *grant);
}

enum error_code claims_judge(struct grant **grant, struct text text, const struct options *options,
                             int64_t now_ms, char fault[AUTH_FAULT_MAX])
{
    struct claims claims = {.options = options, .now_ms = now_ms, .fault = fault};
    char why[JSON_FAULT_MAX];
    struct text value;
    *grant = NULL;
    if (json_scan(&value, text.bytes, text.len, why))
        return claims_refuse(&claims, ERROR_BAD_TOKEN, "the token's claims are not JSON: %s", why);
    int err = json_check_names(value);
    if (err == -ENOMEM)
        return claims_fail_memory(&claims);
    if (err)
        return claims_refuse(&claims, ERROR_BAD_TOKEN,
                             "the token's claims have a member twice, or a number that is too large");
    json_object_read(&claims.object, value, claim_names);
    enum error_code error = claims.object.is_object ? claims_make(&claims, grant)
                                                    : claims_refuse(&claims, ERROR_BAD_TOKEN,
                                                                    "the token's claims must be an object");
    if (claims.object.has_failed)
        error = claims_fail_memory(&claims);
    json_object_deinit(&claims.object);
    json_object_deinit(&claims.rights);
    if (error) {
        grant_unref(*grant);
        *grant = NULL;
    }
    return error;
}
