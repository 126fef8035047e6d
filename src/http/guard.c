/* SPDX-License-Identifier: MIT */
#include "http/guard.h"

#include <string.h>
#include <strings.h>

#include "base/number.h"

/* Fields that are wanted later, and how often each was there. */
static const struct guard_known {
    const char *name;
    size_t len;
} guard_known[FIELD_COUNT] = {
#define GUARD_KNOWN(text)                                                                                    \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }
    [FIELD_ACCEPT] = GUARD_KNOWN("Accept"),
    [FIELD_CONTENT_LENGTH] = GUARD_KNOWN("Content-Length"),
    [FIELD_CONTENT_TYPE] = GUARD_KNOWN("Content-Type"),
    [FIELD_HOST] = GUARD_KNOWN("Host"),
    [FIELD_IF_NONE_MATCH] = GUARD_KNOWN("If-None-Match"),
    [FIELD_LAST_EVENT_ID] = GUARD_KNOWN("Last-Event-ID"),
    [FIELD_ORIGIN] = GUARD_KNOWN("Origin"),
    [FIELD_PREFER] = GUARD_KNOWN("Prefer"),
    [FIELD_TRANSFER_ENCODING] = GUARD_KNOWN("Transfer-Encoding"),
#undef GUARD_KNOWN
};

struct guard_fields {
    struct exchange *exchange;
    unsigned counts[FIELD_COUNT];
    bool has_bad_name;
    bool has_bad_value;
};

/* RFC 9110, section 5.6.2. */
static bool guard_is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool is_alphanumeric =
            (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        if (!is_alphanumeric && (byte == '\0' || !strchr("!#$%&'*+-.^_`|~", byte)))
            return false;
    }
    return len > 0;
}

static bool guard_is_field_value(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return false;
    return true;
}

static enum MHD_Result guard_visit(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len)
{
    struct guard_fields *fields = cls;
    (void)kind;
    if (!guard_is_token(name, name_len))
        fields->has_bad_name = true;
    if (value && !guard_is_field_value(value, value_len))
        fields->has_bad_value = true;
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (guard_known[i].len != name_len || strcasecmp(guard_known[i].name, name) != 0)
            continue;
        if (fields->counts[i]++ == 0)
            fields->exchange->fields[i] = value ? value : "";
        break;
    }
    return MHD_YES;
}

static enum http_method guard_method(const char *method)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", METHOD_GET}, {"HEAD", METHOD_HEAD},     {"POST", METHOD_POST},
                   {"PUT", METHOD_PUT}, {"DELETE", METHOD_DELETE}, {"OPTIONS", METHOD_OPTIONS}};
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++)
        if (strcmp(methods[i].name, method) == 0)
            return methods[i].method;
    return 0;
}

static bool guard_framing_is_sound(const struct guard_fields *fields, struct guard_verdict *verdict)
{
    const char *length = exchange_field(fields->exchange, FIELD_CONTENT_LENGTH);
    const char *encoding = exchange_field(fields->exchange, FIELD_TRANSFER_ENCODING);
    if (fields->has_bad_name || fields->has_bad_value || fields->counts[FIELD_CONTENT_LENGTH] > 1 ||
        fields->counts[FIELD_HOST] > 1 || fields->counts[FIELD_TRANSFER_ENCODING] > 1)
        return false;
    if (encoding && (length || strcasecmp(encoding, "chunked") != 0))
        return false;
    return !length || number_parse_u64(&verdict->content_length, length, strlen(length)) == 0;
}

struct guard_verdict guard_check(struct exchange *exchange, const char *method, const char *version)
{
    struct guard_verdict verdict = {.method = guard_method(method)};
    struct guard_fields fields = {.exchange = exchange};
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, guard_visit, &fields);
    bool is_sound = guard_framing_is_sound(&fields, &verdict);
    bool needs_host = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    verdict.has_body = verdict.content_length > 0 || fields.counts[FIELD_TRANSFER_ENCODING] > 0;
    if (!is_sound || (needs_host && fields.counts[FIELD_HOST] == 0)) {
        verdict.error = ERROR_BAD_REQUEST;
        verdict.must_close = true;
    } else if (!exchange->path || (exchange->target[0] != '/' && strcmp(exchange->target, "*") != 0)) {
        verdict.error = ERROR_BAD_PATH;
        verdict.must_close = true;
    }
    return verdict;
}
