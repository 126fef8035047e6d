/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/options.h"

static void test_every_preset_is_in_its_own_range(void **state)
{
    struct options *options = options_new();
    (void)state;
    assert_non_null(options);
    assert_int_equal(options->history_size, 100);
    assert_int_equal(options->history_ttl_ms, 300000);
    assert_int_equal(options->memory_limit_bytes, 512u << 20);
    assert_string_equal(options->http.items[0], "127.0.0.1:8080");
    options_unref(options);
}

static int set(struct options *options, const struct option_row *row, uint64_t number, const char *unit)
{
    char text[32];
    char fault[OPTION_FAULT_MAX] = "";
    snprintf(text, sizeof(text), "%llu%s", (unsigned long long)number, unit);
    int err = option_set(options, row, text, fault);
    if (err && !strstr(fault, " from "))
        fail_msg("%s = %s: '%s' does not say the range", row->name, text, fault);
    return err;
}

static void test_every_number_keeps_its_bounds(void **state)
{
    struct options *options = options_new();
    (void)state;
    assert_non_null(options);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        const char *unit = row->kind == OPTION_DURATION ? "ms" : "";
        char range[OPTION_RANGE_MAX];
        option_format_range(row, range);
        if (!range[0])
            continue;
        assert_int_equal(set(options, row, row->least, unit), 0);
        assert_int_equal(set(options, row, row->most, unit), 0);
        assert_int_not_equal(set(options, row, row->most + 1, unit), 0);
        if (row->least > 0)
            assert_int_not_equal(set(options, row, row->least - 1, unit), 0);
        assert_int_not_equal(set(options, row, UINT64_MAX, "0"), 0);
    }
    options_unref(options);
}

static void test_every_word_of_a_choice_is_taken(void **state)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct options *options = options_new();
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find("log-level", strlen("log-level"));
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(option_set(options, row, levels[i], fault), 0);
        assert_int_equal(options->log_level, i);
        char *text = option_format(options, row);
        assert_string_equal(text, levels[i]);
        free(text);
    }
    assert_int_not_equal(option_set(options, row, "debug|info", fault), 0);
    assert_int_not_equal(option_set(options, row, "", fault), 0);
    options_unref(options);
}

static void test_every_word_of_a_boolean_is_taken(void **state)
{
    static const char *const words[][2] = {{"yes", "no"}, {"true", "false"}, {"on", "off"}, {"1", "0"}};
    struct options *options = options_new();
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find("anonymous", strlen("anonymous"));
    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(option_set(options, row, words[i][0], fault), 0);
        assert_true(options->anonymous);
        assert_int_equal(option_set(options, row, words[i][1], fault), 0);
        assert_false(options->anonymous);
    }
    options_unref(options);
}

static void test_a_repeatable_option_has_a_limit(void **state)
{
    struct options *options = options_new();
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find("allowed-origins", strlen("allowed-origins"));
    (void)state;
    for (uint64_t i = 0; i < row->most; i++)
        assert_int_equal(option_set(options, row, "*", fault), 0);
    assert_int_not_equal(option_set(options, row, "*", fault), 0);
    assert_string_equal(fault, "can be given at most 256 times");
    options_unref(options);
}

static void test_an_origin_has_a_scheme_a_host_and_no_more(void **state)
{
    static const char *const good[] = {"*", "https://a", "http://a.example:8080", "https://[::1]:443"};
    static const char *const bad[] = {"a",           "https://",    "ftp://a",     "https://a/",
                                      "https://a/b", "https://a?b", "https://a#b", "https://a b"};
    struct options *options = options_new();
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find("allowed-origins", strlen("allowed-origins"));
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(option_set(options, row, good[i], fault), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_not_equal(option_set(options, row, bad[i], fault), 0);
    options_unref(options);
}

/* What option_format writes must be the same value again: reloading compares and copies by it. */
static void test_every_value_survives_being_written_and_read(void **state)
{
    struct options *options = options_new();
    struct options *copy = options_new();
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        char range[OPTION_RANGE_MAX];
        option_format_range(row, range);
        if (range[0])
            assert_int_equal(set(options, row, row->least + (row->most - row->least) / 3,
                                 row->kind == OPTION_DURATION ? "ms" : ""),
                             0);
        assert_int_equal(option_copy(copy, options, row), 0);
        assert_true(option_equals(copy, options, row));
    }
    assert_int_equal(copy->head_timeout_ms, options->head_timeout_ms);
    assert_int_equal(copy->history_bytes, options->history_bytes);
    options_unref(copy);
    options_unref(options);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_preset_is_in_its_own_range),
    cmocka_unit_test(test_every_number_keeps_its_bounds),
    cmocka_unit_test(test_every_word_of_a_choice_is_taken),
    cmocka_unit_test(test_every_word_of_a_boolean_is_taken),
    cmocka_unit_test(test_a_repeatable_option_has_a_limit),
    cmocka_unit_test(test_an_origin_has_a_scheme_a_host_and_no_more),
    cmocka_unit_test(test_every_value_survives_being_written_and_read),
};
UNIT_MAIN(tests)
