/* SPDX-License-Identifier: MIT */
#include "http/head.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"

/* What libmicrohttpd keeps in a connection's memory (0.9.75): the head, a record for each field and each
 * query argument, and then the head of the reply. While it reads, half of the memory belongs to the read
 * buffer. Experience adds half a head. */
#define HEAD_RECORD_BYTES 64u
#define HEAD_REPLY_STREAM 560u
/* A long-poll's reply may carry a content type, a channel, an event and a producer of 255 bytes each. */
#define HEAD_REPLY_POLL 2100u
/* Each channel of a subscription may be an argument, and then has an entry in the cursor of the reply. */
#define HEAD_REPLY_ARGUMENT 34u
/* Requests with a body are read in pieces of half the pool, so a larger one makes publishing cheap; nobody is
 * held there. */
#define HEAD_POOL_PUBLISH 65536u
/* A connection that a proxy may use again for another client, or a browser after a login, has to fit heads
 * larger than the first one. */
#define HEAD_POOL_REUSED 32768u

static bool head_is_token(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte));
}

/* METHOD SP target SP HTTP/1.x; as much of it as is there. */
static bool head_line_is_possible(const char *line, size_t len, bool is_whole)
{
    size_t i = 0;
    while (i < len && head_is_token(line[i]))
        i++;
    if (i == 0 || i > 32)
        return len == 0;
    if (i == len)
        return !is_whole;
    if (line[i] != ' ')
        return false;
    size_t target = ++i;
    while (i < len && (unsigned char)line[i] > ' ' && line[i] != 0x7f)
        i++;
    if (i == len)
        return !is_whole;
    if (i == target || line[i] != ' ')
        return false;
    static const char version[] = "HTTP/1.";
    size_t rest = len - ++i;
    size_t compared = rest < sizeof(version) - 1 ? rest : sizeof(version) - 1;
    if (memcmp(line + i, version, compared) != 0)
        return false;
    if (!is_whole)
        return rest <= sizeof(version) + 1;
    return rest == sizeof(version) && (line[len - 1] == '0' || line[len - 1] == '1');
}

struct head_line {
    const char *bytes;
    size_t len; /* without the line end */
};

/* The next line from *at on; false while it has no end. */
static bool head_next_line(const char *bytes, size_t len, size_t *at, struct head_line *line)
{
    const char *end = memchr(bytes + *at, '\n', len - *at);
    if (!end)
        return false;
    line->bytes = bytes + *at;
    line->len = (size_t)(end - line->bytes);
    *at += line->len + 1;
    if (line->len > 0 && line->bytes[line->len - 1] == '\r')
        line->len--;
    return true;
}

static bool head_line_has_name(const struct head_line *line, const char *name)
{
    size_t len = strlen(name);
    return line->len > len && line->bytes[len] == ':' && strncasecmp(line->bytes, name, len) == 0;
}

static bool head_line_contains(const struct head_line *line, const char *text)
{
    return memmem(line->bytes, line->len, text, strlen(text)) != NULL;
}

/* What the head says about how its connection will be used. */
struct head_use {
    bool has_body;
    bool is_stream;
    bool is_proxied;
    bool is_poll;
    size_t arguments;
    size_t fields;
};

static void head_note_request_line(struct head_use *use, const struct head_line *line)
{
    use->has_body = strncmp(line->bytes, "GET ", 4) != 0 && strncmp(line->bytes, "HEAD ", 5) != 0;
    use->is_poll = head_line_contains(line, " /channels/");
    use->is_stream = head_line_contains(line, "transport=s");
    for (size_t i = 0; i < line->len; i++)
        use->arguments += line->bytes[i] == '&' || line->bytes[i] == '?';
}

/* libmicrohttpd answers a length that is no number by itself, with a page of HTML. */
static bool head_field_is_possible(const struct head_line *line)
{
    const size_t name_len = strlen("Content-Length:");
    if (!memchr(line->bytes, ':', line->len))
        return false;
    if (!head_line_has_name(line, "Content-Length"))
        return true;
    const char *value = line->bytes + name_len;
    size_t len = line->len - name_len;
    for (; len > 0 && (*value == ' ' || *value == '\t'); value++)
        len--;
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    for (size_t i = 0; i < len; i++)
        if (value[i] < '0' || value[i] > '9')
            return false;
    return len > 0 && len < 20;
}

static void head_note_field(struct head_use *use, const struct head_line *line)
{
    use->fields++;
    if (head_line_has_name(line, "Accept"))
        use->is_stream =
            use->is_stream || head_line_contains(line, "event-stream") || head_line_contains(line, "ndjson");
    if (head_line_has_name(line, "Via") || head_line_has_name(line, "Forwarded") ||
        head_line_has_name(line, "X-Forwarded-For") || head_line_has_name(line, "X-Real-IP"))
        use->is_proxied = true;
}

static size_t head_pool_bytes(const struct head_use *use, size_t head_len)
{
    size_t records = (use->arguments + use->fields) * HEAD_RECORD_BYTES;
    size_t reply =
        (use->is_stream ? HEAD_REPLY_STREAM : HEAD_REPLY_POLL) + use->arguments * HEAD_REPLY_ARGUMENT;
    size_t pool = number_greater(head_len + records + reply, 2 * records + HEAD_REPLY_STREAM);
    pool = number_greater(pool, head_len * 5 / 2);
    if (use->has_body)
        return number_greater(pool, HEAD_POOL_PUBLISH);
    if (!use->is_stream && (use->is_proxied || !use->is_poll))
        return number_greater(pool, HEAD_POOL_REUSED);
    return pool;
}

size_t head_inspect(const char *bytes, size_t len, size_t *pool_bytes, enum error_code *error)
{
    struct head_use use = {0};
    struct head_line line;
    size_t at = 0;
    bool has_request_line = false;
    for (;;) {
        size_t begin = at;
        if (!head_next_line(bytes, len, &at, &line)) {
            if (!has_request_line && !head_line_is_possible(bytes + begin, len - begin, false) &&
                bytes[begin] != '\r')
                *error = ERROR_BAD_REQUEST;
            return 0;
        }
        if (line.len == 0 && has_request_line)
            break;
        if (line.len == 0)
            continue;
        if (!has_request_line) {
            if (!head_line_is_possible(line.bytes, line.len, true)) {
                *error = ERROR_BAD_REQUEST;
                return 0;
            }
            head_note_request_line(&use, &line);
        } else if (!head_field_is_possible(&line)) {
            *error = ERROR_BAD_REQUEST;
            return 0;
        } else {
            head_note_field(&use, &line);
        }
        has_request_line = true;
    }
    *pool_bytes = head_pool_bytes(&use, at);
    return at;
}

const char *head_find_field(const char *head, size_t len, const char *name, size_t *value_len)
{
    struct head_line line;
    size_t at = 0;
    while (head_next_line(head, len, &at, &line)) {
        if (!head_line_has_name(&line, name))
            continue;
        const char *value = line.bytes + strlen(name) + 1;
        size_t rest = line.len - strlen(name) - 1;
        for (; rest > 0 && (*value == ' ' || *value == '\t'); value++)
            rest--;
        while (rest > 0 && (value[rest - 1] == ' ' || value[rest - 1] == '\t'))
            rest--;
        *value_len = rest;
        return value;
    }
    return NULL;
}
