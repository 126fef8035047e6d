#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/configuration.h"

static char error[CONFIGURATION_ERROR_MAX];
static char path[] = "/tmp/sluice-options-test-XXXXXX";

static void write_file(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int load(struct configuration *configuration, int count, char **arguments, char **environment)
{
    configuration_init(configuration, count, arguments, environment);
    return configuration_load(configuration, error);
}

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

static void test_command_line_before_environment_before_file(void **state)
{
    struct configuration configuration;
    char *arguments[] = {"--config", path, "--history-size=7"};
    char *environment[] = {"SLUICE_HISTORY_SIZE=8", "SLUICE_HEARTBEAT=2s",
                           "SLUICE_ALLOWED_ORIGINS=http://a, http://b", NULL};
    (void)state;
    write_file("history-size = 9\nheartbeat = 3\nretry = 4s ; a comment\nallowed-origins = http://c\n");
    assert_int_equal(load(&configuration, 3, arguments, environment), 0);
    assert_int_equal(configuration.options->history_size, 7);
    assert_int_equal(configuration.options->heartbeat_ms, 2000);
    assert_int_equal(configuration.options->retry_ms, 4000);
    assert_int_equal(configuration.options->allowed_origins.count, 2);
    assert_string_equal(configuration.options->allowed_origins.items[1], "http://b");
    configuration_deinit(&configuration);
}

static void expect_file_error(const char *text, const char *expected)
{
    struct configuration configuration;
    char *arguments[] = {"--config", path};
    write_file(text);
    assert_int_not_equal(load(&configuration, 2, arguments, NULL), 0);
    if (!strstr(error, expected))
        fail_msg("'%s' does not say '%s'", error, expected);
    configuration_deinit(&configuration);
}

static void test_wrong_values_name_option_value_place_and_what_is_allowed(void **state)
{
    char expected[64];
    (void)state;
    snprintf(expected, sizeof(expected), "%s:2: ", path);
    expect_file_error("retry = 1\nhistory-size = many\n", expected);
    expect_file_error("history-size = many\n",
                      "history-size = 'many' must be a whole number from 0 to 1000000");
    expect_file_error("history-size = 1000001\n", "from 0 to 1000000");
    expect_file_error("memory-limit = 1\n",
                      "must be a number of bytes (or with KiB, MiB, GiB) from 1MiB to 1024GiB");
    expect_file_error("log-level = loud\n", "must be one of debug|info|warn|error");
    expect_file_error("anonymous = perhaps\n", "must be yes or no");
    expect_file_error("http = nowhere\n", "must be host:port");
    expect_file_error("http = ::1:80\n", "goes in brackets");
    expect_file_error("allowed-origins = example.com\n", "https://host");
    expect_file_error("histroy-size = 1\n", "did you mean 'history-size'?");
    expect_file_error("retry = 1\nretry = 2\n", "given twice");
    expect_file_error("[section]\nretry = 1\n", "no section [section]");
    expect_file_error("retry\n", "not 'name = value'");
    expect_file_error("poll-wait = 10m\n", "must not be over poll-wait-max");
}

static void test_wrong_arguments_are_named(void **state)
{
    struct configuration configuration;
    char *unknown[] = {"--histori-size", "1"};
    char *missing[] = {"--history-size"};
    char *stray[] = {"history-size"};
    char *environment[] = {"SLUICE_RETRY=soon", NULL};
    (void)state;
    assert_int_not_equal(load(&configuration, 2, unknown, NULL), 0);
    assert_non_null(strstr(error, "did you mean 'history-size'?"));
    configuration_deinit(&configuration);
    assert_int_not_equal(load(&configuration, 1, missing, NULL), 0);
    assert_non_null(strstr(error, "--history-size needs a value"));
    configuration_deinit(&configuration);
    assert_int_not_equal(load(&configuration, 1, stray, NULL), 0);
    assert_non_null(strstr(error, "options begin with --"));
    configuration_deinit(&configuration);
    assert_int_not_equal(load(&configuration, 0, NULL, environment), 0);
    assert_non_null(strstr(error, "environment SLUICE_RETRY: retry = 'soon'"));
    configuration_deinit(&configuration);
}

static void test_booleans_stand_alone_and_can_be_negated(void **state)
{
    struct configuration configuration;
    char *arguments[] = {"--anonymous", "--http", "127.0.0.1:0"};
    char *negated[] = {"--anonymous", "--no-anonymous"};
    char *spelled[] = {"--anonymous", "yes"};
    (void)state;
    assert_int_equal(load(&configuration, 3, arguments, NULL), 0);
    assert_true(configuration.options->anonymous);
    configuration_deinit(&configuration);
    assert_int_equal(load(&configuration, 2, negated, NULL), 0);
    assert_false(configuration.options->anonymous);
    configuration_deinit(&configuration);
    assert_int_equal(load(&configuration, 2, spelled, NULL), 0);
    assert_true(configuration.options->anonymous);
    configuration_deinit(&configuration);
}

static void test_reload_takes_what_it_may_and_reports_the_rest(void **state)
{
    struct configuration configuration;
    struct reload_report report;
    char *arguments[] = {"--config", path};
    (void)state;
    write_file("history-size = 5\nshards = 1\n");
    assert_int_equal(load(&configuration, 2, arguments, NULL), 0);
    struct options *kept = options_ref(configuration.options);
    write_file("history-size = 6\nshards = 2\n");
    assert_int_equal(configuration_reload(&configuration, &report, error), 0);
    assert_string_equal(report.changed, "history-size");
    assert_string_equal(report.needs_restart, "shards");
    assert_int_equal(configuration.options->history_size, 6);
    assert_int_equal(configuration.options->shards, 1);
    assert_int_equal(kept->history_size, 5);
    options_unref(kept);
    write_file("history-size = 7\nshards = x\n");
    assert_int_not_equal(configuration_reload(&configuration, &report, error), 0);
    assert_int_equal(configuration.options->history_size, 6);
    configuration_deinit(&configuration);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_preset_is_in_its_own_range),
    cmocka_unit_test(test_every_number_keeps_its_bounds),
    cmocka_unit_test(test_every_word_of_a_choice_is_taken),
    cmocka_unit_test(test_every_word_of_a_boolean_is_taken),
    cmocka_unit_test(test_a_repeatable_option_has_a_limit),
    cmocka_unit_test(test_every_value_survives_being_written_and_read),
    cmocka_unit_test(test_command_line_before_environment_before_file),
    cmocka_unit_test(test_wrong_values_name_option_value_place_and_what_is_allowed),
    cmocka_unit_test(test_wrong_arguments_are_named),
    cmocka_unit_test(test_booleans_stand_alone_and_can_be_negated),
    cmocka_unit_test(test_reload_takes_what_it_may_and_reports_the_rest),
};

int main(void)
{
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
