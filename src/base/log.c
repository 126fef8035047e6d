#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_SLOTS 64u

static _Atomic int log_least = LOG_INFO;
static _Atomic int log_form = LOG_LOGFMT;

static const char *const log_level_words[] = {"debug", "info", "warn", "error"};

/* How often an event was written of late; which event has a slot is decided by its name's hash. Two that
 * share one share the limit. */
static struct log_slot {
    _Atomic uint64_t window_begin_ms;
    _Atomic uint32_t written;
    _Atomic uint32_t left_out;
} log_slots[LOG_SLOTS];

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

static struct log_slot *log_find_slot(const char *event)
{
    uint32_t hash = 2166136261u;
    for (; *event; event++)
        hash = (hash ^ (unsigned char)*event) * 16777619u;
    return &log_slots[hash % LOG_SLOTS];
}

/* Whether the event may be written now; *left_out is how many were not since the last one that was. */
static bool log_admit(const char *event, uint32_t *left_out)
{
    struct log_slot *slot = log_find_slot(event);
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t begin_ms = atomic_load(&slot->window_begin_ms);
    if (now_ms - begin_ms >= LOG_WINDOW_MS &&
        atomic_compare_exchange_strong(&slot->window_begin_ms, &begin_ms, now_ms))
        atomic_store(&slot->written, 0);
    if (atomic_fetch_add(&slot->written, 1) >= LOG_BURST) {
        atomic_fetch_add(&slot->left_out, 1);
        return false;
    }
    *left_out = atomic_exchange(&slot->left_out, 0);
    return true;
}

struct log_line {
    char bytes[LOG_LINE_MAX];
    size_t len;
    bool is_json;
};

static void log_put(struct log_line *line, const char *text, size_t len)
{
    /* Room for what closes the line is kept. */
    size_t room = sizeof(line->bytes) - 4 - line->len;
    if (len > room)
        len = room;
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

static void log_put_text(struct log_line *line, const char *text)
{
    log_put(line, text, strlen(text));
}

/* The length of the UTF-8 sequence at `text`, 0 when it is not one. */
static size_t log_utf8_len(const unsigned char *text)
{
    size_t len = text[0] < 0x80                      ? 1
                 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                 : (text[0] & 0xf0) == 0xe0          ? 3
                 : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                     : 0;
    for (size_t i = 1; i < len; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static void log_put_escaped(struct log_line *line, const char *text)
{
    char escape[8];
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t len = log_utf8_len(at);
        if (*at == '"' || *at == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", *at);
            log_put_text(line, escape);
        } else if (*at < 0x20 || *at == 0x7f || len == 0) {
            snprintf(escape, sizeof(escape), line->is_json ? "\\u%04x" : "\\x%02x", *at);
            log_put_text(line, escape);
        } else {
            log_put(line, (const char *)at, len);
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

static void log_put_key(struct log_line *line, const char *key)
{
    if (line->is_json) {
        log_put_text(line, line->len == 0 ? "{\"" : ",\"");
        log_put_text(line, key);
        log_put_text(line, "\":");
    } else {
        if (line->len > 0)
            log_put_text(line, " ");
        log_put_text(line, key);
        log_put_text(line, "=");
    }
}

static void log_put_pair(struct log_line *line, const char *key, const char *text)
{
    log_put_key(line, key);
    bool is_quoted = line->is_json || log_needs_quotes(text);
    if (is_quoted)
        log_put_text(line, "\"");
    log_put_escaped(line, text);
    if (is_quoted)
        log_put_text(line, "\"");
}

static void log_put_number(struct log_line *line, const char *key, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%lld", (long long)number);
    log_put_key(line, key);
    log_put_text(line, digits);
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
    log_put_pair(line, "time", text);
}

void log_write_fields(enum log_level level, const char *event, const struct log_field *fields, unsigned count)
{
    uint32_t left_out = 0;
    if (level != LOG_DEBUG && !log_admit(event, &left_out))
        return;
    struct log_line line;
    line.len = 0;
    line.is_json = atomic_load_explicit(&log_form, memory_order_relaxed) == LOG_JSON;
    log_put_time(&line);
    log_put_pair(&line, "level", log_level_words[level]);
    log_put_pair(&line, "event", event);
    for (unsigned i = 0; i < count; i++) {
        if (fields[i].text)
            log_put_pair(&line, fields[i].key, fields[i].text);
        else
            log_put_number(&line, fields[i].key, fields[i].number);
    }
    if (left_out > 0)
        log_put_number(&line, "left_out", left_out);
    if (line.is_json)
        line.bytes[line.len++] = '}';
    line.bytes[line.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line.bytes, line.len);
    (void)written; /* there is no place to report that stderr is gone */
}
