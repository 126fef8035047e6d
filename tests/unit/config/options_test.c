/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/channel_options.h"

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

static void test_a_set_takes_each_word_and_several(void **state)
{
    static const struct {
        const char *text;
        unsigned set;
    } good[] = {{"auto", PUBLISHERS_AUTO},     {"key", PUBLISHERS_KEY},
                {"token", PUBLISHERS_TOKEN},   {"Key, token", PUBLISHERS_KEY | PUBLISHERS_TOKEN},
                {"anyone", PUBLISHERS_ANYONE}, {"token,key,token", PUBLISHERS_KEY | PUBLISHERS_TOKEN},
                {"nobody", PUBLISHERS_NOBODY}, {"anyone,key", PUBLISHERS_KEY | PUBLISHERS_ANYONE}};
    static const char *const bad[] = {"",     ",",        "key,",          ",key",     "key token",
                                      "keys", "auto,key", "nobody,anyone", "key|token"};
    struct options *options = options_new();
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find("publish", strlen("publish"));
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(option_set(options, row, good[i].text, fault), 0);
        assert_int_equal(options->publish, good[i].set);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (option_set(options, row, bad[i], fault) == 0)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(options->publish, PUBLISHERS_KEY | PUBLISHERS_ANYONE);
    char *text = option_format(options, row);
    assert_string_equal(text, "key,anyone");
    free(text);
    options_unref(options);
}

static void test_the_words_of_access_are_their_values(void **state)
{
    static const char *const words[] = {"auto", "anyone", "token", "nobody"};
    struct options *options = options_new();
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find("subscribe", strlen("subscribe"));
    (void)state;
    assert_int_equal(options->subscribe, SUBSCRIBERS_AUTO);
    assert_int_equal(options->publish, PUBLISHERS_AUTO);
    for (unsigned i = SUBSCRIBERS_AUTO; i <= SUBSCRIBERS_NOBODY; i++) {
        assert_int_equal(option_set(options, row, words[i], fault), 0);
        assert_int_equal(options->subscribe, i);
    }
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
    cmocka_unit_test(test_a_set_takes_each_word_and_several),
    cmocka_unit_test(test_the_words_of_access_are_their_values),
    cmocka_unit_test(test_every_word_of_a_boolean_is_taken),
    cmocka_unit_test(test_a_repeatable_option_has_a_limit),
    cmocka_unit_test(test_an_origin_has_a_scheme_a_host_and_no_more),
    cmocka_unit_test(test_every_value_survives_being_written_and_read),
};
UNIT_MAIN(tests)
