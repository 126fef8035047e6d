/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <jansson.h>
#include <regex.h>
#include <string.h>

#include "base/log.h"
#include "capture.h"

static struct capture capture;

static void expect_pattern(const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, capture.text, 0, NULL, 0) != 0)
        fail_msg("'%s' does not match '%s'", capture.text, pattern);
    regfree(&regex);
}

/* Logs one pair as text; debug lines are not limited. */
static void log_one(enum log_format format, const char *text)
{
    log_set_format(format);
    log_set_level(LOG_DEBUG);
    capture_begin(&capture, STDERR_FILENO);
    log_event(LOG_DEBUG, "one", LOG_TEXT("text", text));
    capture_end(&capture);
}

static void expect_logfmt(const char *text, const char *expected)
{
    char ending[256];
    log_one(LOG_LOGFMT, text);
    snprintf(ending, sizeof(ending), " level=debug event=one text=%s\n", expected);
    if (!strstr(capture.text, ending))
        fail_msg("'%s' does not end with '%s'", capture.text, ending);
}

/* A line that is not JSON, or does not carry the text, fails. */
static void expect_json(const char *text, const char *expected)
{
    json_error_t error;
    log_one(LOG_JSON, text);
    json_t *line = json_loads(capture.text, 0, &error);
    if (!line)
        fail_msg("'%s' is not JSON: %s", capture.text, error.text);
    assert_string_equal(json_string_value(json_object_get(line, "text")), expected);
    json_decref(line);
}

static void test_a_line_has_time_level_event_and_pairs(void **state)
{
    (void)state;
    log_set_format(LOG_LOGFMT);
    log_set_level(LOG_INFO);
    capture_begin(&capture, STDERR_FILENO);
    log_event(LOG_WARN, "shape", LOG_TEXT("a", "b"), LOG_NUMBER("n", -7));
    log_event(LOG_INFO, "bare");
    capture_end(&capture);
    expect_pattern("^time=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                   "level=warn event=shape a=b n=-7\ntime=[^ ]* level=info event=bare\n$");
}

static void test_lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    capture_begin(&capture, STDERR_FILENO);
    log_event(LOG_WARN, "below", LOG_TEXT("a", "b"));
    capture_end(&capture);
    assert_string_equal(capture.text, "");
}

static void test_logfmt_quotes_and_escapes_what_would_break_a_line(void **state)
{
    (void)state;
    expect_logfmt("plain-1/2", "plain-1/2");
    expect_logfmt("", "\"\"");
    expect_logfmt(NULL, "\"\"");
    expect_logfmt("two words", "\"two words\"");
    expect_logfmt("a=b", "\"a=b\"");
    expect_logfmt("say \"x\" \\", "\"say \\\"x\\\" \\\\\"");
    expect_logfmt("x\nlevel=error\r\t\x1b[2J\x7f", "\"x\\x0alevel=error\\x0d\\x09\\x1b[2J\\x7f\"");
    expect_logfmt("gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"");
    expect_logfmt("\xff", "\"\\xff\"");
}

static void test_json_stays_json_whatever_the_bytes(void **state)
{
    (void)state;
    expect_json("plain", "plain");
    expect_json("x\n\"\\\x01\x7f", "x\n\"\\\x01\x7f");
    expect_json("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
    expect_json("\xff", "\xc3\xbf");             /* no byte of UTF-8 */
    expect_json("\xc0\xaf", "\xc3\x80\xc2\xaf"); /* overlong */
    expect_json("\xe0\x80\xaf", "\xc3\xa0\xc2\x80\xc2\xaf");
    expect_json("\xed\xa0\x80", "\xc3\xad\xc2\xa0\xc2\x80");             /* a surrogate */
    expect_json("\xf4\x90\x80\x80", "\xc3\xb4\xc2\x90\xc2\x80\xc2\x80"); /* over U+10FFFF */
    expect_json("\xe2\x82", "\xc3\xa2\xc2\x82");                         /* cut short */
}

/* Of every length around the limit, and with values that grow when escaped. */
static void test_a_long_line_is_cut_and_stays_well_formed(void **state)
{
    static const char *const units[] = {"x", "\"", "\x01", "\xff", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    static char text[3 * LOG_LINE_MAX];
    (void)state;
    log_set_format(LOG_JSON);
    log_set_level(LOG_DEBUG);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        for (size_t before = 0; before < 12; before++) {
            memset(text, 'y', before);
            text[before] = '\0';
            for (size_t len = before; len < LOG_LINE_MAX; len += strlen(units[i]))
                strcpy(text + len, units[i]);
            capture_begin(&capture, STDERR_FILENO);
            log_event(LOG_DEBUG, "long", LOG_TEXT("text", text), LOG_NUMBER("after", 1));
            capture_end(&capture);
            json_t *line = json_loads(capture.text, 0, NULL);
            assert_non_null(line);
            assert_true(strlen(capture.text) <= LOG_LINE_MAX);
            assert_non_null(strstr(capture.text, "...\"}\n"));
            json_decref(line);
        }
    }
}

static void test_a_key_that_does_not_fit_is_left_out_whole(void **state)
{
    static char text[LOG_LINE_MAX];
    (void)state;
    log_set_format(LOG_JSON);
    log_set_level(LOG_DEBUG);
    for (size_t len = LOG_LINE_MAX - 160; len < LOG_LINE_MAX - 1; len++) {
        memset(text, 'y', len);
        text[len] = '\0';
        capture_begin(&capture, STDERR_FILENO);
        log_event(LOG_DEBUG, "long", LOG_TEXT("text", text), LOG_NUMBER("number", 1234567),
                  LOG_TEXT("key", "value"));
        capture_end(&capture);
        json_t *line = json_loads(capture.text, 0, NULL);
        assert_non_null(line);
        json_t *number = json_object_get(line, "number");
        assert_true(!number || json_integer_value(number) == 1234567);
        json_decref(line);
    }
}

static void test_repeated_lines_are_left_out_and_told(void **state)
{
    unsigned lines = 0;
    (void)state;
    log_set_format(LOG_LOGFMT);
    log_set_level(LOG_INFO);
    capture_begin(&capture, STDERR_FILENO);
    for (unsigned i = 0; i < 1000; i++)
        log_event(LOG_WARN, "storm", LOG_NUMBER("i", i));
    log_event(LOG_ERROR, "other");
    log_flush();
    log_flush();
    capture_end(&capture);
    for (const char *at = capture.text; (at = strstr(at, "event=storm")); at++)
        lines++;
    assert_int_equal(lines, 10);
    assert_non_null(strstr(capture.text, "level=error event=other\n"));
    const char *told = strstr(capture.text, "level=warn event=lines-left-out of=storm count=990\n");
    assert_non_null(told);
    assert_null(strstr(told + strlen("level=warn event=lines"), "lines-left-out"));
}

static void test_debug_lines_are_not_limited(void **state)
{
    unsigned lines = 0;
    (void)state;
    log_set_level(LOG_DEBUG);
    capture_begin(&capture, STDERR_FILENO);
    for (unsigned i = 0; i < 100; i++)
        log_event(LOG_DEBUG, "detail");
    capture_end(&capture);
    for (const char *at = capture.text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 100);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_line_has_time_level_event_and_pairs),
    cmocka_unit_test(test_lines_below_the_level_are_not_written),
    cmocka_unit_test(test_logfmt_quotes_and_escapes_what_would_break_a_line),
    cmocka_unit_test(test_json_stays_json_whatever_the_bytes),
    cmocka_unit_test(test_a_long_line_is_cut_and_stays_well_formed),
    cmocka_unit_test(test_a_key_that_does_not_fit_is_left_out_whole),
    cmocka_unit_test(test_repeated_lines_are_left_out_and_told),
    cmocka_unit_test(test_debug_lines_are_not_limited),
};
UNIT_MAIN(tests)
