#include "http/guard.h"

#include <string.h>
#include <strings.h>

#include "base/number.h"

struct guard_fields {
    unsigned content_lengths;
    unsigned hosts;
    unsigned transfer_encodings;
    bool has_bad_name;
    bool has_bad_value;
    const char *content_length;
    const char *transfer_encoding;
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
    if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        fields->content_lengths++;
        fields->content_length = value;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        fields->hosts++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        fields->transfer_encodings++;
        fields->transfer_encoding = value;
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
    if (fields->has_bad_name || fields->has_bad_value || fields->content_lengths > 1 || fields->hosts > 1 ||
        fields->transfer_encodings > 1)
        return false;
    if (fields->transfer_encodings > 0 && fields->content_lengths > 0)
        return false;
    if (fields->transfer_encodings > 0 && strcasecmp(fields->transfer_encoding, "chunked") != 0)
        return false;
    const char *length = fields->content_length;
    return !length || number_parse_u64(&verdict->content_length, length, strlen(length)) == 0;
}

struct guard_verdict guard_check(struct exchange *exchange, const char *method, const char *version)
{
    struct guard_verdict verdict = {.method = guard_method(method)};
    struct guard_fields fields = {0};
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, guard_visit, &fields);
    bool is_sound = guard_framing_is_sound(&fields, &verdict);
    bool needs_host = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    verdict.has_body = verdict.content_length > 0 || fields.transfer_encodings > 0;
    if (!is_sound || (needs_host && fields.hosts == 0)) {
        verdict.error = ERROR_BAD_REQUEST;
        verdict.must_close = true;
    } else if (!exchange->path || (exchange->target[0] != '/' && strcmp(exchange->target, "*") != 0)) {
        verdict.error = ERROR_BAD_PATH;
        verdict.must_close = true;
    }
    return verdict;
}
