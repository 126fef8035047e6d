/* SPDX-License-Identifier: MIT */
#include "transport/tcp/resp.h"

#include <ctype.h>
#include <string.h>

#include "base/number.h"

/* "*1280\r\n", "$67108864\r\n"; what is longer is a number as well, but too large a one. */
#define RESP_LINE_MAX 32u

static const char resp_bulk_too_large[] = "too-large a bulk string has at most message-size bytes";
static const char resp_total_too_large[] =
    "too-large the arguments of a command have together at most 320 KiB more than message-size";
/* What a command of the largest bulk string and many small ones may have in all beyond the largest. */
#define RESP_TOTAL_MORE (320u << 10)

static enum resp_result resp_fail(struct resp_command *command, const char *fault)
{
    command->fault = fault;
    return RESP_BROKEN;
}

/* A line of a mark and a number at `*at`, which it moves behind it. */
static enum resp_result resp_read_number(struct resp_command *command, const char *bytes, size_t len,
                                         size_t *at, char mark, uint64_t *number)
{
    const char *line = bytes + *at;
    size_t room = len - *at < RESP_LINE_MAX ? len - *at : RESP_LINE_MAX;
    if (room == 0)
        return RESP_PARTIAL;
    if (line[0] != mark)
        return resp_fail(command,
                         mark == '$' ? "Protocol error: expected '$'" : "Protocol error: expected '*'");
    const char *end = memchr(line, '\n', room);
    if (!end)
        return room < RESP_LINE_MAX ? RESP_PARTIAL
                                    : resp_fail(command, "Protocol error: too big count string");
    struct text digits = {line + 1, (size_t)(end - line) - 1};
    bool is_line = text_ends(digits, "\r");
    digits.len -= is_line;
    if (!is_line || (digits.len > 1 && digits.bytes[0] == '0') ||
        number_parse_u64(number, digits.bytes, digits.len))
        return resp_fail(command, mark == '$' ? "Protocol error: invalid bulk length"
                                              : "Protocol error: invalid multibulk length");
    *at = (size_t)(end + 1 - bytes);
    return RESP_WHOLE;
}

/* An array of bulk strings, checked against the limits before its bytes are waited for. */
static enum resp_result resp_read_array(const char *bytes, size_t len, uint64_t limit,
                                        struct resp_command *command)
{
    uint64_t count = 0;
    uint64_t total = 0;
    size_t at = 0;
    enum resp_result result = resp_read_number(command, bytes, len, &at, '*', &count);
    if (result == RESP_WHOLE && count > RESP_ARGUMENTS_MAX)
        return resp_fail(command, "Protocol error: invalid multibulk length");
    while (result == RESP_WHOLE && command->count < count) {
        uint64_t size = 0;
        result = resp_read_number(command, bytes, len, &at, '$', &size);
        if (result != RESP_WHOLE)
            return result;
        total += size;
        if (size > limit)
            return resp_fail(command, resp_bulk_too_large);
        if (total > limit + RESP_TOTAL_MORE)
            return resp_fail(command, resp_total_too_large);
        if (len - at < size + 2)
            return RESP_PARTIAL;
        if (memcmp(bytes + at + size, "\r\n", 2) != 0)
            return resp_fail(command, "Protocol error: expected CRLF after a bulk string");
        command->arguments[command->count++] = (struct text){bytes + at, size};
        at += size + 2;
    }
    command->size = at;
    return result;
}

/* One byte of an argument in double quotes, which may be an escape. Returns how many bytes it takes. */
static size_t resp_unescape(const char *text, size_t len, char *to)
{
    static const char escapes[] = "n\nr\rt\tb\ba\a";
    if (text[0] != '\\' || len < 2) {
        *to = text[0];
        return 1;
    }
    if (text[1] == 'x' && len >= 4 && isxdigit((unsigned char)text[2]) && isxdigit((unsigned char)text[3])) {
        *to = (char)(number_parse_hex_digit(text[2]) * 16 + number_parse_hex_digit(text[3]));
        return 4;
    }
    *to = text[1];
    for (size_t i = 0; i + 1 < sizeof(escapes); i += 2)
        if (escapes[i] == text[1])
            *to = escapes[i + 1];
    return 2;
}

/* An argument of a line, quoted as redis-cli's users quote. Returns where it ends, or `len` + 1 when its
 * quotes are not closed. */
static size_t resp_split_argument(const char *line, size_t len, size_t at, char **to)
{
    char quote = '\0';
    while (at < len) {
        if (quote == '\0' && isspace((unsigned char)line[at]))
            return at;
        if (quote == '\0' && (line[at] == '"' || line[at] == '\'')) {
            quote = line[at++];
        } else if (quote != '\0' && line[at] == quote) {
            quote = '\0';
            at++;
        } else if (quote == '"') {
            at += resp_unescape(line + at, len - at, (*to)++);
        } else {
            *(*to)++ = line[at++];
        }
    }
    return quote == '\0' ? at : len + 1;
}

static enum resp_result resp_read_line(const char *bytes, size_t len, struct resp_command *command)
{
    const char *end = memchr(bytes, '\n', len < RESP_INLINE_MAX ? len : RESP_INLINE_MAX);
    if (!end)
        return len < RESP_INLINE_MAX ? RESP_PARTIAL
                                     : resp_fail(command, "Protocol error: too big inline request");
    size_t line_len = (size_t)(end - bytes);
    char *to = command->line;
    command->size = line_len + 1;
    for (size_t at = 0; at < line_len;) {
        if (isspace((unsigned char)bytes[at])) {
            at++;
            continue;
        }
        char *begin = to;
        at = resp_split_argument(bytes, line_len, at, &to);
        if (at > line_len)
            return resp_fail(command, "Protocol error: unbalanced quotes in request");
        if (command->count == RESP_ARGUMENTS_MAX)
            return resp_fail(command, "Protocol error: invalid multibulk length");
        command->arguments[command->count++] = (struct text){begin, (size_t)(to - begin)};
    }
    return RESP_WHOLE;
}

enum resp_result resp_read(const char *bytes, size_t len, uint64_t limit, struct resp_command *command)
{
    command->count = 0;
    command->bytes = bytes;
    command->size = 0;
    command->fault = NULL;
    if (len == 0)
        return RESP_PARTIAL;
    return bytes[0] == '*' ? resp_read_array(bytes, len, limit, command)
                           : resp_read_line(bytes, len, command);
}
