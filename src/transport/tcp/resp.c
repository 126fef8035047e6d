/* SPDX-License-Identifier: MIT */
#include "transport/tcp/resp.h"

#include <ctype.h>
#include <hiredis/read.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

/* "*1280\r\n", "$67108864\r\n" and then some zeros. */
#define RESP_LINE_MAX 32u

struct resp_reader {
    redisReader *reader;
    struct resp_command *command; /* being read */
    const char *bytes;            /* what the reader was fed with last */
    size_t fed_at;                /* where in the reader's buffer it begins */
};

static const char resp_bulk_too_large[] = "too-large a bulk string has at most message-size bytes";
static const char resp_total_too_large[] =
    "too-large the arguments of a command have together at most 320 KiB more than message-size";
/* What a command of the largest bulk string and many small ones may have in all beyond the largest. */
#define RESP_TOTAL_MORE (320u << 10)

/* hiredis copies what it is fed; an argument is found again in the bytes that it was fed with. */
static void *resp_create_string(const redisReadTask *task, char *text, size_t len)
{
    struct resp_reader *reader = task->privdata;
    struct resp_command *command = reader->command;
    const char *begin = reader->reader->buf + reader->fed_at;
    if (command->count == RESP_ARGUMENTS_MAX)
        return NULL;
    command->arguments[command->count++] = (struct text){reader->bytes + (text - begin), len};
    return command;
}

static void *resp_create_array(const redisReadTask *task, int elements)
{
    (void)elements; /* counted before */
    return ((struct resp_reader *)task->privdata)->command;
}

/* What a command cannot be is refused before hiredis sees it. */
static void *resp_create_integer(const redisReadTask *task, long long value)
{
    (void)task;
    (void)value;
    return NULL;
}

static void *resp_create_nil(const redisReadTask *task)
{
    (void)task;
    return NULL;
}

static void resp_free_object(void *object)
{
    (void)object; /* it is the command's */
}

static redisReplyObjectFunctions resp_functions = {
    .createString = resp_create_string,
    .createArray = resp_create_array,
    .createInteger = resp_create_integer,
    .createNil = resp_create_nil,
    .freeObject = resp_free_object,
};

struct resp_reader *resp_reader_new(void)
{
    struct resp_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return NULL;
    reader->reader = redisReaderCreateWithFunctions(&resp_functions);
    if (!reader->reader) {
        free(reader);
        return NULL;
    }
    reader->reader->privdata = reader;
    return reader;
}

void resp_reader_free(struct resp_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->reader);
    free(reader);
}

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
    if (end[-1] != '\r' || number_parse_u64(number, line + 1, (size_t)(end - 1 - (line + 1))))
        return resp_fail(command, mark == '$' ? "Protocol error: invalid bulk length"
                                              : "Protocol error: invalid multibulk length");
    *at = (size_t)(end + 1 - bytes);
    return RESP_WHOLE;
}

/* Whether an array of bulk strings is all there, and within the limits: hiredis would make room for whatever
 * is announced, and take what no command is made of. */
static enum resp_result resp_measure(struct resp_command *command, const char *bytes, size_t len,
                                     uint64_t limit)
{
    uint64_t count = 0;
    uint64_t total = 0;
    size_t at = 0;
    enum resp_result result = resp_read_number(command, bytes, len, &at, '*', &count);
    if (result == RESP_WHOLE && count > RESP_ARGUMENTS_MAX)
        return resp_fail(command, "Protocol error: invalid multibulk length");
    for (uint64_t i = 0; result == RESP_WHOLE && i < count; i++) {
        uint64_t size = 0;
        result = resp_read_number(command, bytes, len, &at, '$', &size);
        total += size;
        if (result == RESP_WHOLE && size > limit)
            return resp_fail(command, resp_bulk_too_large);
        if (result == RESP_WHOLE && total > limit + RESP_TOTAL_MORE)
            return resp_fail(command, resp_total_too_large);
        if (result == RESP_WHOLE && len - at < size + 2)
            return RESP_PARTIAL;
        if (result == RESP_WHOLE && memcmp(bytes + at + size, "\r\n", 2) != 0)
            return resp_fail(command, "Protocol error: expected CRLF after a bulk string");
        at += size + 2;
    }
    command->size = at;
    return result;
}

static enum resp_result resp_read_array(struct resp_reader *reader, const char *bytes, size_t len,
                                        uint64_t limit, struct resp_command *command)
{
    void *object = NULL;
    enum resp_result result = resp_measure(command, bytes, len, limit);
    if (result != RESP_WHOLE || memcmp(bytes, "*0\r\n", 4) == 0)
        return result;
    reader->command = command;
    reader->bytes = bytes;
    if (redisReaderFeed(reader->reader, bytes, command->size) != 0)
        return resp_fail(command, "out of memory");
    reader->fed_at = reader->reader->len - command->size;
    if (redisReaderGetReply(reader->reader, &object) != 0 || !object)
        return resp_fail(command, "Protocol error");
    return RESP_WHOLE;
}

static int resp_hex(char digit)
{
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
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
        *to = (char)(resp_hex(text[2]) * 16 + resp_hex(text[3]));
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

enum resp_result resp_read(struct resp_reader *reader, const char *bytes, size_t len, uint64_t limit,
                           struct resp_command *command)
{
    command->count = 0;
    command->bytes = bytes;
    command->size = 0;
    command->fault = NULL;
    if (len == 0)
        return RESP_PARTIAL;
    return bytes[0] == '*' ? resp_read_array(reader, bytes, len, limit, command)
                           : resp_read_line(bytes, len, command);
}
