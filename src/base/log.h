/* SPDX-License-Identifier: MIT */
#pragma once

/* One line an event on stderr: time, level, event name, key=value pairs; logfmt or JSON.
 *
 * Any thread; one write(2) a line, nothing allocated, nothing locked. At most LOG_BURST lines with the same
 * event name in LOG_WINDOW_MS are written (debug lines always, see log_limit.h); when that time is over, the
 * next line of any event is preceded by one that says how many were left out. A line that would be longer
 * than LOG_LINE_MAX is cut in a value, which then ends in "...", and stays well-formed.
 */

#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE_MAX 4096u

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* A pair; `text` NULL means `number`. */
struct log_field {
    const char *key;
    const char *text;
    int64_t number;
};

/* A text that is NULL is shown as an empty one. */
static inline struct log_field log_field_text(const char *key, const char *text)
{
    return (struct log_field){key, text ? text : "", 0};
}

#define LOG_TEXT(key, value) log_field_text((key), (value))
#define LOG_NUMBER(key, value) ((struct log_field){(key), NULL, (int64_t)(value)})

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
bool log_is_on(enum log_level level);

/* Tells of all lines left out so far; before the process ends. */
void log_flush(void);

void log_write_fields(enum log_level level, const char *event, const struct log_field *fields,
                      unsigned count);

/* log_event(LOG_WARN, "broker-lost", LOG_TEXT("reason", text), LOG_NUMBER("retry_ms", n)): the event is a
 * string constant. */
#define log_event(level, event, ...)                                                                         \
    do {                                                                                                     \
        if (log_is_on(level)) {                                                                              \
            const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};                                     \
            log_write_fields(level, event, log_fields_ + 1,                                                  \
                             sizeof(log_fields_) / sizeof(log_fields_[0]) - 1);                              \
        }                                                                                                    \
    } while (0)
