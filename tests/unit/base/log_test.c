#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static char text[1u << 16];

/* What `write` puts on stderr. */
static const char *capture(void (*write_lines)(void))
{
    int ends[2];
    int kept = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    write_lines();
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    ssize_t len = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    text[len > 0 ? len : 0] = '\0';
    return strchr(text, ' ') ? strchr(text, ' ') + 1 : text;
}

static void write_pairs(void)
{
    log_event(LOG_INFO, "pairs", LOG_TEXT("plain", "abc"), LOG_TEXT("space", "a b"),
              LOG_TEXT("odd", "a\"\\\n\x1b\x7f"), LOG_TEXT("empty", ""), LOG_NUMBER("n", -5));
}

static void test_logfmt_quotes_and_escapes(void **state)
{
    (void)state;
    log_set_format(LOG_LOGFMT);
    assert_string_equal(capture(write_pairs), "level=info event=pairs plain=abc space=\"a b\" "
                                              "odd=\"a\\\"\\\\\\x0a\\x1b\\x7f\" empty=\"\" n=-5\n");
}

static void write_json(void)
{
    log_event(LOG_WARN, "json", LOG_TEXT("odd", "a\"\\\n\xff\xc3\xa9"), LOG_NUMBER("n", 7));
}

static void test_json_escapes_what_is_not_utf8(void **state)
{
    (void)state;
    log_set_format(LOG_JSON);
    capture(write_json);
    assert_non_null(strstr(
        text,
        ",\"level\":\"warn\",\"event\":\"json\",\"odd\":\"a\\\"\\\\\\u000a\\u00ff\xc3\xa9\",\"n\":7}\n"));
    assert_memory_equal(text, "{\"time\":\"", 9);
    log_set_format(LOG_LOGFMT);
}

static void write_debug(void)
{
    log_event(LOG_DEBUG, "debug");
}

static void test_levels_below_the_least_are_left_out(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    assert_string_equal(capture(write_debug), "");
    log_set_level(LOG_DEBUG);
    assert_string_equal(capture(write_debug), "level=debug event=debug\n");
    log_set_level(LOG_INFO);
}

static void write_many(void)
{
    for (unsigned i = 0; i < 1000; i++)
        log_event(LOG_ERROR, "repeated", LOG_NUMBER("i", i));
}

static void test_repeated_events_are_limited(void **state)
{
    unsigned lines = 0;
    (void)state;
    capture(write_many);
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, LOG_BURST);
}

static void write_long(void)
{
    static char value[LOG_LINE_MAX * 2];
    memset(value, '"', sizeof(value) - 1);
    log_event(LOG_INFO, "long", LOG_TEXT("value", value), LOG_TEXT("more", "x"));
}

static void test_a_line_has_its_bound(void **state)
{
    (void)state;
    capture(write_long);
    assert_true(strlen(text) <= LOG_LINE_MAX);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_logfmt_quotes_and_escapes),
    cmocka_unit_test(test_json_escapes_what_is_not_utf8),
    cmocka_unit_test(test_levels_below_the_least_are_left_out),
    cmocka_unit_test(test_repeated_events_are_limited),
    cmocka_unit_test(test_a_line_has_its_bound),
};
UNIT_MAIN(tests)
