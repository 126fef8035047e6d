/* SPDX-License-Identifier: MIT */
#include "http/identity.h"

#include <stdio.h>
#include <string.h>

#include "http/origin.h"
#include "http/router.h"
#include "http/transport.h"

#define IDENTITY_SCHEME "Bearer "

/* The credentials of `Authorization: Bearer …` (RFC 6750, section 2.1); other schemes are for others. */
static struct text identity_find_in_header(const struct exchange *exchange)
{
    struct text value = text_of(exchange_field(exchange, FIELD_AUTHORIZATION));
    if (!text_begins_word(value, IDENTITY_SCHEME))
        return (struct text){0};
    return text_trim(text_behind(value, strlen(IDENTITY_SCHEME)));
}

static struct text identity_find_in_cookie(const struct exchange *exchange)
{
    struct text value = text_of(exchange_field(exchange, FIELD_TOKEN_COOKIE));
    if (value.len >= 2 && value.bytes[0] == '"' && text_ends(value, "\""))
        value = (struct text){value.bytes + 1, value.len - 2};
    return value;
}

/* Browsers send a cookie with whatever a page has them ask for, so it counts only for our own pages and those
 * that are listed. Who changes something has to be one of them; who only reads, no stranger; and a script
 * that anybody's page may name is read by that page. */
static bool identity_cookie_counts(const struct exchange *exchange)
{
    const char *site = exchange_field(exchange, FIELD_FETCH_SITE);
    bool is_own = site && (strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0);
    bool is_read = (exchange->method == METHOD_GET || exchange->method == METHOD_HEAD) &&
                   !exchange->route->takes_changes;
    if (exchange_field(exchange, FIELD_ORIGIN))
        return origin_is_trusted(exchange);
    if (!is_read || (exchange->transport && exchange->transport->call))
        return is_own;
    return !site || strcmp(site, "cross-site") != 0;
}

/* Browsers show a certificate to whatever page has them ask, as they send a cookie; but who is no browser
 * says nothing of pages. */
static bool identity_certificate_counts(const struct exchange *exchange)
{
    bool is_of_page = exchange_field(exchange, FIELD_ORIGIN) || exchange_field(exchange, FIELD_FETCH_SITE);
    return !is_of_page || identity_cookie_counts(exchange);
}

/* Who has no token is who its certificate says, unless that has been revoked. */
static void identity_take_certificate(struct exchange *exchange)
{
    enum error_code error = ERROR_NONE;
    if (!exchange->bearer.grant && identity_certificate_counts(exchange))
        error = bearer_certify(&exchange->bearer, exchange->shard, exchange->fd);
    if (error != ERROR_NONE)
        exchange->identity.error = error;
}

static void identity_judge_token(struct exchange *exchange, char fault[AUTH_FAULT_MAX])
{
    struct identity *identity = &exchange->identity;
    struct text token = identity_find_in_header(exchange);
    if (token.len == 0)
        token = exchange_query(exchange, "token");
    identity->is_given = token.len > 0;
    if (token.len == 0)
        token = identity_find_in_cookie(exchange);
    if (token.len == 0)
        return;
    identity->is_ignored = !identity->is_given && !identity_cookie_counts(exchange);
    if (!identity->is_ignored)
        identity->error = bearer_verify(&exchange->bearer, exchange->shard, token, fault);
}

static void identity_judge(struct exchange *exchange, char fault[AUTH_FAULT_MAX])
{
    struct identity *identity = &exchange->identity;
    fault[0] = '\0';
    if (identity->is_judged)
        return;
    identity->is_judged = true;
    if (auth_keys_are_there(exchange->shard->keys))
        identity_judge_token(exchange, fault);
    if (!identity->is_given)
        identity_take_certificate(exchange);
}

enum error_code identity_check(struct exchange *exchange, enum access_verb verb, struct text channel,
                               char fault[AUTH_FAULT_MAX])
{
    char why_bad[AUTH_FAULT_MAX];
    const struct identity *identity = &exchange->identity;
    identity_judge(exchange, why_bad);
    bool is_bad = identity->error != ERROR_NONE;
    enum error_code error = ERROR_NO_TOKEN;
    if (!is_bad || !identity->is_given)
        error = bearer_check(&exchange->bearer, exchange->shard, verb, channel, fault);
    if (error != ERROR_NO_TOKEN)
        return error;
    if (is_bad)
        snprintf(fault, AUTH_FAULT_MAX, "%s", why_bad[0] ? why_bad : error_text(identity->error));
    else if (exchange_field(exchange, FIELD_AUTHORIZATION))
        snprintf(fault, AUTH_FAULT_MAX,
                 "Authorization is there, but does not say \"Bearer TOKEN\", and nothing else counts");
    else if (identity->is_ignored)
        snprintf(fault, AUTH_FAULT_MAX,
                 "this needs a token; the cookie does not count, because it is not surely a page of this "
                 "server or of allowed-origins that asks");
    return is_bad ? identity->error : error;
}

bool identity_refuses(struct exchange *exchange, enum access_verb verb, struct text channel)
{
    char fault[AUTH_FAULT_MAX];
    enum error_code error = identity_check(exchange, verb, channel, fault);
    if (error != ERROR_NONE)
        exchange_fail(exchange, error, "%s", fault);
    return error != ERROR_NONE;
}

bool identity_refuses_token(struct exchange *exchange)
{
    char fault[AUTH_FAULT_MAX];
    const struct identity *identity = &exchange->identity;
    identity_judge(exchange, fault);
    if (identity->error == ERROR_NONE || !identity->is_given)
        return false;
    exchange_fail(exchange, identity->error, "%s", fault[0] ? fault : error_text(identity->error));
    return true;
}

bool identity_is_open(const struct exchange *exchange)
{
    return !exchange->bearer.grant && !exchange->identity.is_given;
}

void identity_add_challenge(struct MHD_Response *response, enum error_code error)
{
    char value[128];
    bool is_unknown = error_status(error) == MHD_HTTP_UNAUTHORIZED;
    if (error == ERROR_NO_TOKEN)
        snprintf(value, sizeof(value), "Bearer realm=\"sluice\"");
    else if (is_unknown || error == ERROR_FORBIDDEN_CHANNEL || error == ERROR_FORBIDDEN_ADMIN)
        snprintf(value, sizeof(value), "Bearer realm=\"sluice\", error=\"%s\", error_description=\"%s\"",
                 is_unknown ? "invalid_token" : "insufficient_scope", error_name(error));
    else
        return;
    exchange_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, value);
}
