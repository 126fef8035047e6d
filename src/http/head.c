/* SPDX-License-Identifier: MIT */
#include "http/head.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/container.h"
#include "base/number.h"
#include "base/text.h"
#include "core/cursor.h"
#include "http/fields.h"

/* What libmicrohttpd keeps in a connection's memory (0.9.75): the head, a record for each field and each
 * query argument, and then the head of the reply. While it reads, half of the memory belongs to the read
 * buffer, which has to take the head whole. */
#define HEAD_RECORD_BYTES 64u
#define HEAD_REPLY_STREAM 610u
/* A long-poll's reply may carry a content type, a channel, an event and a producer of 255 bytes each. */
#define HEAD_REPLY_POLL 2150u
/* Each channel of a subscription may be an argument, and then has an entry in the cursor of the reply. */
#define HEAD_REPLY_ARGUMENT 34u
#define HEAD_FIELDS_MAX 256u
#define HEAD_METHOD_MAX 32u
#define HEAD_COOKIE_NAME "JSESSIONID="
#define HEAD_COOKIE_MAX 128u
#define HEAD_TOKEN_COOKIE_NAME "sluice_token="

/* What is known of a head while its lines are read. */
struct head_reading {
    struct door_head *head;
    struct text method;
    struct text target;
    struct text authority; /* of a target in absolute form */
    bool is_http10;
    bool is_stream;
    bool is_wild; /* it may name all channels below one */
    bool has_host;
    bool has_length;
    bool asks_to_close;
    bool asks_to_keep;
    bool has_token_cookie;
    size_t arguments;
    size_t fields;
    size_t fields_fed;
};

/* RFC 9110, section 5.6.2: a bit for each byte. */
static const uint32_t head_token_bytes[8] = {
    [1] = 0x03ff6cfa, /* digits and !#$%&'*+-. */
    [2] = 0xc7fffffe, /* A to Z, ^_ */
    [3] = 0x57ffffff, /* `, a to z, | and ~ */
};

/* The same without #^`| but with :[]()=,; (RFC 9110, section 7.2); without the user that section 4.2.4 has us
 * refuse. */
static const uint32_t head_authority_bytes[8] = {
    [1] = 0x2fff7ff2,
    [2] = 0xaffffffe,
    [3] = 0x47fffffe,
};

static bool head_is_one_of(const uint32_t bytes[8], char byte)
{
    unsigned char index = (unsigned char)byte;
    return bytes[index / 32] >> index % 32 & 1;
}

static size_t head_count_token(struct text line)
{
    size_t len = 0;
    while (len < line.len && head_is_one_of(head_token_bytes, line.bytes[len]))
        len++;
    return len;
}

/* METHOD SP target SP HTTP/1.x; as much of it as is there. */
static bool head_request_line_is_possible(struct text line, bool is_whole, struct head_reading *reading)
{
    static const char version[] = "HTTP/1.";
    const size_t version_len = sizeof(version) - 1;
    size_t method_len = head_count_token(line);
    size_t at = method_len + 1;
    if (method_len == 0 || method_len > HEAD_METHOD_MAX)
        return line.len == 0;
    if (method_len == line.len)
        return !is_whole;
    if (line.bytes[method_len] != ' ')
        return false;
    while (at < line.len && (unsigned char)line.bytes[at] > ' ' && line.bytes[at] != 0x7f)
        at++;
    reading->method = (struct text){line.bytes, method_len};
    reading->target = (struct text){line.bytes + method_len + 1, at - method_len - 1};
    if (at == line.len)
        return !is_whole;
    if (reading->target.len == 0 || line.bytes[at] != ' ')
        return false;
    struct text rest = text_behind(line, at + 1);
    if (memcmp(rest.bytes, version, rest.len < version_len ? rest.len : version_len) != 0)
        return false;
    if (!is_whole)
        return rest.len <= version_len + 2;
    reading->is_http10 = text_is(rest, "HTTP/1.0");
    return reading->is_http10 || text_is(rest, "HTTP/1.1");
}

static void head_append(struct door_head *head, struct text text)
{
    memcpy(head->fed + head->fed_len, text.bytes, text.len);
    head->fed_len += text.len;
}

static void head_append_text(struct door_head *head, const char *text)
{
    head_append(head, text_of(text));
}

static bool head_is_authority(struct text authority)
{
    for (size_t i = 0; i < authority.len; i++)
        if (!head_is_one_of(head_authority_bytes, authority.bytes[i]))
            return false;
    return true;
}

/* http://authority/path is as good as /path (RFC 9112, section 3.2.2): to the target in origin form. */
static bool head_split_absolute(struct head_reading *reading)
{
    struct text *target = &reading->target;
    size_t scheme_len = text_begins_word(*target, "http://")    ? strlen("http://")
                        : text_begins_word(*target, "https://") ? strlen("https://")
                                                                : 0;
    if (scheme_len == 0)
        return false;
    struct text rest = text_behind(*target, scheme_len);
    size_t len = 0;
    while (len < rest.len && rest.bytes[len] != '/' && rest.bytes[len] != '?')
        len++;
    reading->authority = (struct text){rest.bytes, len};
    *target = text_behind(rest, len);
    return len > 0 && head_is_authority(reading->authority);
}

static enum error_code head_read_request_line(struct head_reading *reading, struct text line)
{
    struct door_head *head = reading->head;
    struct text *target = &reading->target;
    head->has_target = true;
    if (!head_request_line_is_possible(line, true, reading))
        return ERROR_BAD_REQUEST;
    bool is_asterisk = text_is_word(*target, "*") && text_is_word(reading->method, "OPTIONS");
    if (target->bytes[0] != '/' && !is_asterisk && !head_split_absolute(reading))
        return ERROR_BAD_REQUEST;
    size_t stars = 0;
    for (size_t i = 0; i < target->len; i++) {
        reading->arguments += target->bytes[i] == '&' || target->bytes[i] == '?';
        stars += target->bytes[i] == '*' || target->bytes[i] == '%';
    }
    reading->is_wild = stars > 1;
    if (reading->arguments > HEAD_ARGUMENTS_MAX)
        return ERROR_TOO_MANY_ARGUMENTS;
    reading->is_stream = reading->arguments > 0 && text_contains(*target, "transport=s");
    head->target = *target;
    head_append(head, reading->method);
    head_append_text(head, target->len > 0 && target->bytes[0] != '?' ? " " : " /");
    head_append(head, *target);
    head_append_text(head, reading->is_http10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    if (reading->authority.len > 0) {
        reading->fields_fed++;
        head_append_text(head, "Host: ");
        head_append(head, reading->authority);
        head_append_text(head, "\r\n");
    }
    return ERROR_NONE;
}

static bool head_read_length(struct head_reading *reading, struct text value)
{
    struct request_framing *framing = &reading->head->framing;
    bool is_first = !reading->has_length;
    reading->has_length = true;
    return is_first && value.len < 20 && number_parse_u64(&framing->body_len, value.bytes, value.len) == 0;
}

static bool head_read_encoding(struct head_reading *reading, struct text value)
{
    struct request_framing *framing = &reading->head->framing;
    bool is_first = !framing->is_chunked;
    framing->is_chunked = true;
    return is_first && !reading->is_http10 && text_is_word(value, "chunked");
}

static bool head_read_expectation(struct head_reading *reading, struct text value)
{
    reading->head->framing.expects_continue = !reading->is_http10 && text_is_word(value, "100-continue");
    return true;
}

static bool head_read_connection(struct head_reading *reading, struct text value)
{
    for (size_t at = 0; at < value.len;) {
        struct text token = {value.bytes + at, 0};
        token.len = head_count_token(text_behind(value, at));
        reading->asks_to_close = reading->asks_to_close || text_is_word(token, "close");
        reading->asks_to_keep = reading->asks_to_keep || text_is_word(token, "keep-alive");
        reading->head->framing.asks_to_upgrade =
            reading->head->framing.asks_to_upgrade || text_is_word(token, "upgrade");
        at += token.len > 0 ? token.len : 1;
    }
    return true;
}

/* A target in absolute form has the host in it (RFC 9112, section 3.2.2). */
static bool head_read_host(struct head_reading *reading, struct text value)
{
    bool is_first = !reading->has_host;
    reading->has_host = true;
    return is_first && head_is_authority(value);
}

/* Fields that say where the request ends and for whom it is. */
#define HEAD_FRAMING(name, read)                                                                             \
    {                                                                                                        \
        {name, sizeof(name) - 1}, read                                                                       \
    }
static const struct {
    struct text name;
    bool (*read)(struct head_reading *reading, struct text value);
} head_framing_fields[] = {
    HEAD_FRAMING("Content-Length", head_read_length),
    HEAD_FRAMING("Transfer-Encoding", head_read_encoding),
    HEAD_FRAMING("Expect", head_read_expectation),
    HEAD_FRAMING("Connection", head_read_connection),
    HEAD_FRAMING("Host", head_read_host),
};
#undef HEAD_FRAMING

/* Returns false when what it says cannot be. */
static bool head_read_framing(struct head_reading *reading, struct text name, struct text value)
{
    for (size_t i = 0; i < ARRAY_LENGTH(head_framing_fields); i++)
        if (text_equals_word(name, head_framing_fields[i].name))
            return head_framing_fields[i].read(reading, value);
    return true;
}

static bool head_is_value(struct text value)
{
    for (size_t i = text_count_printable(value.bytes, value.len); i < value.len; i++)
        if (((unsigned char)value.bytes[i] < 0x20 && value.bytes[i] != '\t') || value.bytes[i] == 0x7f)
            return false;
    return true;
}

/* The first cookie that begins so; empty when there is none. */
static struct text head_find_cookie(struct text cookies, const char *beginning)
{
    while (cookies.len > 0) {
        struct text cookie = text_cut(&cookies, ';');
        if (text_begins(cookie, beginning))
            return cookie;
    }
    return (struct text){"", 0};
}

static void head_feed_line(struct head_reading *reading, const char *beginning, struct text value)
{
    if (value.len == 0)
        return;
    reading->fields_fed++;
    head_append_text(reading->head, beginning);
    head_append(reading->head, value);
    head_append_text(reading->head, "\r\n");
}

/* Of all cookies two are of use here. The one that is a secret stands by itself, because the other one is
 * repeated in answers. */
static void head_feed_cookies(struct head_reading *reading, struct text cookies)
{
    struct text cookie = head_find_cookie(cookies, HEAD_COOKIE_NAME);
    struct text token = head_find_cookie(cookies, HEAD_TOKEN_COOKIE_NAME);
    bool is_new = token.len > 0 && !reading->has_token_cookie;
    if (cookie.len <= HEAD_COOKIE_MAX)
        head_feed_line(reading, "Cookie:", cookie);
    if (is_new)
        head_feed_line(reading, "Sluice-Token-Cookie:", text_behind(token, strlen(HEAD_TOKEN_COOKIE_NAME)));
    reading->has_token_cookie = reading->has_token_cookie || is_new;
}

static void head_feed_field(struct head_reading *reading, struct text line, struct text name,
                            struct text value)
{
    enum exchange_field field = field_find(name.bytes, name.len);
    if (field == FIELD_ACCEPT)
        reading->is_stream =
            reading->is_stream || text_contains(value, "event-stream") || text_contains(value, "ndjson");
    if (field == FIELD_COOKIE)
        head_feed_cookies(reading, value);
    if (field == FIELD_COUNT || field == FIELD_COOKIE || field == FIELD_TOKEN_COOKIE ||
        (field == FIELD_HOST && reading->authority.len > 0))
        return;
    reading->fields_fed++;
    head_append(reading->head, line);
    head_append_text(reading->head, "\r\n");
}

static enum error_code head_read_field(struct head_reading *reading, struct text line)
{
    struct text name = {line.bytes, head_count_token(line)};
    if (++reading->fields > HEAD_FIELDS_MAX)
        return ERROR_HEAD_TOO_LARGE;
    if (name.len == 0 || name.len == line.len || line.bytes[name.len] != ':')
        return ERROR_BAD_REQUEST;
    const struct text value = text_trim(text_behind(line, name.len + 1));
    if (!head_is_value(value))
        return ERROR_BAD_REQUEST;
    if (!head_read_framing(reading, name, value))
        return ERROR_BAD_REQUEST;
    head_feed_field(reading, line, name, value);
    return ERROR_NONE;
}

static size_t head_pool_bytes(const struct head_reading *reading)
{
    size_t fed_len = reading->head->fed_len;
    size_t records = (reading->arguments + reading->fields_fed + 2) * HEAD_RECORD_BYTES;
    size_t reply =
        (reading->is_stream ? HEAD_REPLY_STREAM : HEAD_REPLY_POLL) + reading->arguments * HEAD_REPLY_ARGUMENT;
    reply += reading->is_wild && !reading->is_stream ? CURSOR_TEXT_MAX : 0;
    size_t pool = number_greater(fed_len + records + reply, 2 * records + HEAD_REPLY_STREAM);
    return number_greater(pool, fed_len * 5 / 2);
}

/* All lines are there. */
static enum error_code head_finish(struct head_reading *reading)
{
    struct door_head *head = reading->head;
    if ((head->framing.is_chunked && reading->has_length) || (!reading->has_host && !reading->is_http10))
        return ERROR_BAD_REQUEST;
    head->framing.is_kept = !reading->asks_to_close && (!reading->is_http10 || reading->asks_to_keep);
    if (!head->framing.is_kept)
        head_append_text(head, "Connection: close\r\n");
    else if (reading->is_http10)
        head_append_text(head, "Connection: keep-alive\r\n");
    head_append_text(head, "\r\n");
    head->pool_bytes = head_pool_bytes(reading);
    return ERROR_NONE;
}

/* The next line from *at on, without its end; false while it has none. */
static bool head_next_line(const char *bytes, size_t len, size_t *at, struct text *line)
{
    const char *end = memchr(bytes + *at, '\n', len - *at);
    if (!end)
        return false;
    *line = (struct text){bytes + *at, (size_t)(end - bytes) - *at};
    *at += line->len + 1;
    line->len -= text_ends(*line, "\r");
    return true;
}

/* The beginning of a request line, whose end has not come. */
static bool head_may_begin(const char *bytes, size_t len)
{
    struct head_reading ignored = {0};
    return len == 0 || bytes[0] == '\r' ||
           head_request_line_is_possible((struct text){bytes, len}, false, &ignored);
}

void head_inspect(const char *bytes, size_t len, struct door_head *head)
{
    struct head_reading reading = {.head = head};
    struct text line;
    size_t at = 0;
    *head = (struct door_head){.fed = head->fed};
    while (head->error == ERROR_NONE) {
        size_t begin = at;
        if (!head_next_line(bytes, len, &at, &line)) {
            if (!head->has_target && !head_may_begin(bytes + begin, len - begin))
                head->error = ERROR_BAD_REQUEST;
            return;
        }
        if (!head->has_target && line.len == 0)
            continue;
        if (line.len == 0) {
            head->error = head_finish(&reading);
            head->len = head->error == ERROR_NONE ? at : 0;
            return;
        }
        head->error =
            head->has_target ? head_read_field(&reading, line) : head_read_request_line(&reading, line);
    }
}

const char *head_find_field(const char *head, size_t len, const char *name, size_t *value_len)
{
    const struct text wanted = text_of(name);
    struct text line;
    size_t at = 0;
    while (head_next_line(head, len, &at, &line)) {
        if (line.len <= wanted.len || line.bytes[wanted.len] != ':' ||
            !text_equals_word((struct text){line.bytes, wanted.len}, wanted))
            continue;
        struct text value = text_trim(text_behind(line, wanted.len + 1));
        *value_len = value.len;
        return value.bytes;
    }
    return NULL;
}
