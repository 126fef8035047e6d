/* SPDX-License-Identifier: MIT */
#include "config/file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

struct file_reader {
    FILE *file;
    unsigned line;
    file_pair_fn *on_pair;
    file_section_fn *on_section;
    void *context;
    bool is_stopped; /* by one of the functions */
    struct file_fault *fault;
};

__attribute__((format(printf, 3, 4))) static char *file_fail(struct file_reader *reader, unsigned line,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    reader->fault->line = line;
    vsnprintf(reader->fault->text, sizeof(reader->fault->text), format, arguments);
    va_end(arguments);
    return NULL;
}

/* Where the line opens a section, else NULL: libinih tells of one only when a pair follows, and cuts it. */
static const char *file_find_section(const char *text, unsigned line)
{
    if (line == 1 && strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
        text += strlen(BYTE_ORDER_MARK);
    text += strspn(text, " \t\r\f\v");
    return *text == '[' ? text : NULL;
}

/* Cuts off what stands before the mark, which has to be there. */
static bool file_cut(struct text *rest, char mark, struct text *part)
{
    bool is_there = memchr(rest->bytes, mark, rest->len) != NULL;
    *part = text_cut(rest, mark);
    return is_there;
}

/* What stands between the brackets, and nothing but a comment behind them. */
static bool file_parse_section(const char *line, struct text *kind, struct text *argument)
{
    struct text rest = {line + 1, strcspn(line, "\r\n") - 1};
    struct text before = rest;
    bool is_quoted = file_cut(&rest, '"', kind) && !memchr(kind->bytes, ']', kind->len);
    *argument = (struct text){0};
    if (!is_quoted)
        rest = before;
    else if (!file_cut(&rest, '"', argument))
        return false;
    if (!file_cut(&rest, ']', is_quoted ? &before : kind) || (is_quoted && before.len > 0))
        return false;
    rest = text_trim(rest);
    return kind->len > 0 && (rest.len == 0 || rest.bytes[0] == ';');
}

static void file_open_section(struct file_reader *reader, const char *line)
{
    struct text kind;
    struct text argument;
    if (!file_parse_section(line, &kind, &argument))
        (void)file_fail(reader, reader->line,
                        "a section opens with [KIND \"NAME\"], nothing else on its line");
    else
        reader->is_stopped = reader->on_section(reader->context, kind, argument, reader->line) != 0;
}

/* libinih's fgets. */
static char *file_read_line(char *to, int size, void *context)
{
    struct file_reader *reader = context;
    int len = 0;
    int byte = 0;
    if (reader->fault->text[0])
        return NULL;
    reader->line++;
    while (byte != '\n' && (byte = getc(reader->file)) != EOF) {
        if (byte == '\0')
            return file_fail(reader, reader->line, "there is a NUL byte in the line");
        if (len == size - 1)
            return file_fail(reader, reader->line, "the line is longer than %d bytes", size - 2);
        to[len++] = (char)byte;
    }
    if (byte == EOF && ferror(reader->file))
        return file_fail(reader, 0, "%s", strerror(errno));
    to[len] = '\0';
    const char *section = file_find_section(to, reader->line);
    if (section) {
        file_open_section(reader, section);
        if (reader->is_stopped || reader->fault->text[0])
            return NULL;
        strcpy(to, "\n"); /* an empty line is as long at least */
    }
    return len > 0 ? to : NULL;
}

static int file_pass_pair(void *context, const char *section, const char *name, const char *value)
{
    struct file_reader *reader = context;
    (void)section; /* file_read_line lets none through */
    reader->is_stopped = reader->on_pair(reader->context, name, value, reader->line) != 0;
    return !reader->is_stopped;
}

int file_read(FILE *file, file_pair_fn *on_pair, file_section_fn *on_section, void *context,
              struct file_fault *fault)
{
    struct file_reader reader = {
        .file = file, .on_pair = on_pair, .on_section = on_section, .context = context, .fault = fault};
    *fault = (struct file_fault){0};
    /* Debian's libinih takes its limits at run time. Continuation lines would make an indented option part of
     * the one before. */
    ini_use_stack = false;
    ini_max_line = (int)FILE_LINE_MAX;
    ini_initial_alloc = (int)FILE_LINE_MAX;
    ini_allow_multiline = false;
    ini_stop_on_first_error = true;
    int result = ini_parse_stream(file_read_line, &reader, file_pass_pair, &reader);
    if (reader.is_stopped)
        return -ECANCELED;
    if (result < 0)
        (void)file_fail(&reader, 0, "%s", strerror(ENOMEM));
    else if (result > 0)
        (void)file_fail(&reader, (unsigned)result, "not 'name = value', a comment or empty");
    return fault->text[0] ? -EINVAL : 0;
}
