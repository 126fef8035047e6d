/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unistr.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/log_limit.h"

static _Atomic int log_least = LOG_INFO;
static _Atomic int log_form = LOG_LOGFMT;

static const char *const log_level_words[] = {"debug", "info", "warn", "error"};

static struct log_limit log_lines;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_least, (int)level, memory_order_relaxed);
}

void log_set_format(enum log_format format)
{
    atomic_store_explicit(&log_form, (int)format, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed);
}

struct log_line {
    char bytes[LOG_LINE_MAX];
    size_t len;
    bool is_json;
    bool is_full; /* something did not fit; nothing more is added */
};

/* Kept free for what ends a line that was cut: dots, quote, brace and line feed. */
#define LOG_TAIL 8u

/* Adds all of it or nothing, so that no escape and no character is cut in two. */
static void log_put(struct log_line *line, const char *text, size_t len)
{
    if (line->is_full || line->len + len > sizeof(line->bytes) - LOG_TAIL) {
        line->is_full = true;
        return;
    }
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

static void log_put_text(struct log_line *line, const char *text)
{
    log_put(line, text, strlen(text));
}

static void log_put_tail(struct log_line *line, const char *text)
{
    size_t len = strlen(text);
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

static void log_put_escaped(struct log_line *line, const char *text)
{
    char escape[8];
    for (const unsigned char *at = (const unsigned char *)text; *at && !line->is_full;) {
        int len = u8_strmblen(at);
        if (*at == '"' || *at == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", *at);
            log_put_text(line, escape);
        } else if (*at < 0x20 || *at == 0x7f || len < 0) {
            snprintf(escape, sizeof(escape), line->is_json ? "\\u%04x" : "\\x%02x", *at);
            log_put_text(line, escape);
        } else {
            log_put(line, (const char *)at, (size_t)len);
        }
        at += len > 0 ? len : 1;
    }
}

static bool log_needs_quotes(const char *text)
{
    if (*text == '\0')
        return true;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        if (*at <= ' ' || *at == '"' || *at == '=' || *at == '\\' || *at >= 0x7f)
            return true;
    return false;
}

/* Nothing of a pair whose value does not even begin; and a number that is cut would be another one. */
static void log_put_pair(struct log_line *line, const char *key, const char *text, bool is_number)
{
    size_t begin = line->len;
    bool is_quoted = !is_number && (line->is_json || log_needs_quotes(text));
    if (line->is_json)
        log_put_text(line, begin == 0 ? "{\"" : ",\"");
    else if (begin > 0)
        log_put_text(line, " ");
    log_put_text(line, key);
    log_put_text(line, line->is_json ? "\":" : "=");
    if (is_quoted)
        log_put_text(line, "\"");
    bool has_begun = !line->is_full;
    log_put_escaped(line, text);
    if (line->is_full && (is_number || !has_begun)) {
        line->len = begin;
        return;
    }
    if (line->is_full)
        log_put_tail(line, "...");
    if (is_quoted)
        log_put_tail(line, "\"");
}

static void log_put_time(struct log_line *line)
{
    char text[40];
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(now_ms % 1000));
    log_put_pair(line, "time", text, false);
}

static void log_write_line(enum log_level level, const char *event, const struct log_field *fields,
                           unsigned count)
{
    struct log_line line;
    line.len = 0;
    line.is_json = atomic_load_explicit(&log_form, memory_order_relaxed) == LOG_JSON;
    line.is_full = false;
    log_put_time(&line);
    log_put_pair(&line, "level", log_level_words[level], false);
    log_put_pair(&line, "event", event, false);
    for (unsigned i = 0; i < count; i++) {
        char digits[24];
        snprintf(digits, sizeof(digits), "%lld", (long long)fields[i].number);
        log_put_pair(&line, fields[i].key, fields[i].text ? fields[i].text : digits, !fields[i].text);
    }
    log_put_tail(&line, line.is_json ? "}\n" : "\n");
    ssize_t written;
    do
        written = write(STDERR_FILENO, line.bytes, line.len);
    while (written < 0 && errno == EINTR);
    /* Any other failure has no place to be told: stderr is gone or full. */
}

static void log_write_left_out(uint64_t now_ms, bool is_last)
{
    struct log_left_out left_out;
    unsigned at = 0;
    while (log_limit_collect(&log_lines, now_ms, is_last, &at, &left_out)) {
        const struct log_field fields[] = {LOG_TEXT("of", left_out.event),
                                           LOG_NUMBER("count", left_out.count)};
        log_write_line((enum log_level)left_out.level, "lines-left-out", fields, ARRAY_LENGTH(fields));
    }
}

void log_flush(void)
{
    log_write_left_out(clock_monotonic_ms(), true);
}

void log_write_fields(enum log_level level, const char *event, const struct log_field *fields, unsigned count)
{
    if (level != LOG_DEBUG) {
        uint64_t now_ms = clock_monotonic_ms();
        log_write_left_out(now_ms, false);
        if (!log_limit_admit(&log_lines, event, (int)level, now_ms))
            return;
    }
    log_write_line(level, event, fields, count);
}
