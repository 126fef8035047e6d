/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/channel_options.h"
#include "config/configuration.h"

static char error[CONFIGURATION_ERROR_MAX];
static char path[] = "/tmp/sluice-configuration-test-XXXXXX";
static char *with_file[] = {"--config", path};

static void write_file(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int try_load(struct configuration *configuration, int count, char **arguments, char **environment)
{
    configuration_init(configuration, count, arguments, environment);
    return configuration_load(configuration, error);
}

static void load(struct configuration *configuration, int count, char **arguments, char **environment)
{
    if (try_load(configuration, count, arguments, environment))
        fail_msg("%s", error);
}

static void expect_error(int count, char **arguments, char **environment, const char *expected)
{
    struct configuration configuration;
    configuration_init(&configuration, count, arguments, environment);
    assert_int_not_equal(configuration_load(&configuration, error), 0);
    if (!strstr(error, expected))
        fail_msg("'%s' does not say '%s'", error, expected);
    assert_null(configuration.options);
    configuration_deinit(&configuration);
}

static const char *source_of(const struct configuration *configuration, const char *name)
{
    return configuration->sources[option_find(name, strlen(name)) - option_rows].place;
}

static void test_sources_are_named(void **state)
{
    struct configuration configuration;
    char *arguments[] = {"--config", path, "--retry=3"};
    char *environment[] = {"SLUICE_HEARTBEAT=2s", NULL};
    char expected[64];
    (void)state;
    write_file("\nhistory-size = 9\nheartbeat = 4\nretry = 4\n");
    load(&configuration, 3, arguments, environment);
    snprintf(expected, sizeof(expected), "%s:2", path);
    assert_string_equal(source_of(&configuration, "history-size"), expected);
    assert_string_equal(source_of(&configuration, "heartbeat"), "environment SLUICE_HEARTBEAT");
    assert_string_equal(source_of(&configuration, "retry"), "command line");
    assert_string_equal(source_of(&configuration, "shards"), "default");
    configuration_deinit(&configuration);
}

static void test_repeatable_options_add_up_within_a_source_only(void **state)
{
    struct configuration configuration;
    char *arguments[] = {"--config", path, "--http=:1", "--http", ":2"};
    (void)state;
    write_file("http = :3\nallowed-origins = http://a\nallowed-origins = http://b\n");
    load(&configuration, 5, arguments, NULL);
    assert_int_equal(configuration.options->http.count, 2);
    assert_string_equal(configuration.options->http.items[1], ":2");
    assert_int_equal(configuration.options->allowed_origins.count, 2);
    configuration_deinit(&configuration);
}

static void test_an_empty_list_overrides_a_weaker_source(void **state)
{
    struct configuration configuration;
    char *environment[] = {"SLUICE_ALLOWED_ORIGINS=", NULL};
    char *arguments[] = {"--config", path, "--allowed-origins="};
    (void)state;
    write_file("allowed-origins = *\n");
    load(&configuration, 2, with_file, environment);
    assert_int_equal(configuration.options->allowed_origins.count, 0);
    configuration_deinit(&configuration);
    load(&configuration, 3, arguments, NULL);
    assert_int_equal(configuration.options->allowed_origins.count, 0);
    configuration_deinit(&configuration);
}

static void test_the_file_may_be_named_in_the_environment_but_not_in_itself(void **state)
{
    struct configuration configuration;
    char variable[96];
    char *environment[] = {variable, NULL};
    (void)state;
    snprintf(variable, sizeof(variable), "SLUICE_CONFIG=%s", path);
    write_file("history-size = 9\n");
    load(&configuration, 0, NULL, environment);
    assert_int_equal(configuration.options->history_size, 9);
    configuration_deinit(&configuration);
    write_file("config = other.ini\n");
    expect_error(2, with_file, NULL, "config stands on the command line or in the environment only");
}

static void test_files_that_cannot_be_read_are_errors(void **state)
{
    char *missing[] = {"--config", "/nonexistent/file"};
    char *folder[] = {"--config", "/"};
    (void)state;
    expect_error(2, missing, NULL, "cannot read the configuration file /nonexistent/file: No such file");
    expect_error(2, folder, NULL, "cannot read the configuration file /: Is a directory");
}

static void test_an_error_names_the_first_wrong_line(void **state)
{
    char expected[96];
    (void)state;
    write_file("# comment\nnonsense\nhistory-size = many\n");
    snprintf(expected, sizeof(expected), "%s:2: not 'name = value'", path);
    expect_error(2, with_file, NULL, expected);
}

static void test_values_longer_than_a_terminal_still_say_what_is_allowed(void **state)
{
    static char value[6000] = "--static-dir=";
    char *arguments[] = {value};
    (void)state;
    memset(value + strlen(value), 'x', sizeof(value) - strlen(value) - 1);
    expect_error(1, arguments, NULL, "...' must have 0 to 4096 bytes");
}

static void test_a_long_value_comes_whole_out_of_a_file(void **state)
{
    struct configuration configuration;
    static char text[4200] = "static-dir = ";
    (void)state;
    memset(text + strlen(text), 'x', 4096);
    write_file(text);
    load(&configuration, 2, with_file, NULL);
    assert_int_equal(strlen(configuration.options->static_dir), 4096);
    configuration_deinit(&configuration);
}

static void test_options_that_contradict_each_other_are_named_with_their_places(void **state)
{
    char *arguments[] = {"--poll-wait-max=10s"};
    (void)state;
    expect_error(1, arguments, NULL,
                 "default: poll-wait = 25000ms must not be over poll-wait-max = 10000ms (command line)");
}

static void test_the_longest_hold_may_be_the_usual_one(void **state)
{
    struct configuration configuration;
    char *arguments[] = {"--poll-wait-max=10s", "--poll-wait=10s"};
    char *longer[] = {"--poll-wait-max=10s", "--poll-wait=10001ms"};
    (void)state;
    load(&configuration, 2, arguments, NULL);
    assert_int_equal(configuration.options->poll_wait_ms, 10000);
    configuration_deinit(&configuration);
    expect_error(2, longer, NULL, "must not be over poll-wait-max");
}

static void test_held_answers_outlast_no_proxy_by_default(void **state)
{
    struct configuration configuration;
    (void)state;
    load(&configuration, 0, NULL, NULL);
    assert_int_equal(configuration.options->poll_wait_max_ms, 55000);
    assert_int_equal(configuration.options->heartbeat_ms, 15000);
    configuration_deinit(&configuration);
}

static char strays[512];

static void take_stray(const char *variable, const char *nearest)
{
    size_t len = strlen(strays);
    snprintf(strays + len, sizeof(strays) - len, "%s>%s ", variable, nearest ? nearest : "");
}

static void test_variables_that_are_no_options_are_named(void **state)
{
    struct configuration configuration;
    char *environment[] = {"PATH=/bin", "SLUICE_HEARTBEAT=2s", "SLUICE_HISTRY=1", "SLUICE_history_size=1",
                           "SLUICE_PORT=8080", "SLUICE_HEART", "SLUICE_=x", "SLUICER=1",
                           /* as Kubernetes sets them */
                           "SLUICE_PORT=tcp://10.0.0.1:80", "SLUICE_PORT_80_TCP_ADDR=10.0.0.1",
                           "SLUICE_SERVICE_HOST=10.0.0.1", NULL};
    (void)state;
    strays[0] = '\0';
    load(&configuration, 0, NULL, environment);
    configuration_visit_strays(&configuration, take_stray);
    assert_string_equal(strays, "SLUICE_HISTRY>SLUICE_HISTORY_SIZE SLUICE_history_size>SLUICE_HISTORY_SIZE "
                                "SLUICE_PORT> SLUICE_HEART> SLUICE_> ");
    configuration_deinit(&configuration);
}

static void test_a_static_directory_that_is_not_there_is_told(void **state)
{
    struct configuration configuration;
    static const struct {
        char *argument;
        int err;
    } cases[] = {{"--static-dir=/", 0},
                 {"--static-dir=", 0},
                 {"--static-dir=/no/such", -EINVAL},
                 {"--static-dir=/etc/passwd", -EINVAL}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *argument = cases[i].argument;
        load(&configuration, 1, &argument, NULL);
        assert_int_equal(configuration_check_static_dir(&configuration, error), cases[i].err);
        configuration_deinit(&configuration);
    }
    assert_string_equal(error, "command line: static-dir = '/etc/passwd' cannot be served: Not a directory");
    /* The default one may not be installed. */
    load(&configuration, 0, NULL, NULL);
    free(configuration.options->static_dir);
    configuration.options->static_dir = strdup("/no/such");
    assert_int_equal(configuration_check_static_dir(&configuration, error), -ENOENT);
    assert_string_equal(error,
                        "default: static-dir = '/no/such' cannot be served: No such file or directory");
    configuration_deinit(&configuration);
}

static void test_unknown_arguments_are_suggested_without_their_value(void **state)
{
    char *arguments[] = {"--histroy-size=7"};
    char *negated[] = {"--no-history-size"};
    (void)state;
    expect_error(1, arguments, NULL, "no option 'histroy-size'; did you mean 'history-size'?");
    expect_error(1, negated, NULL, "no option 'no-history-size'");
}

static void test_reload_keeps_command_line_and_environment(void **state)
{
    struct configuration configuration;
    struct reload_report report;
    char *arguments[] = {"--config", path, "--history-size=7"};
    char *environment[] = {"SLUICE_RETRY=2", NULL};
    (void)state;
    write_file("heartbeat = 3\n");
    load(&configuration, 3, arguments, environment);
    write_file("history-size = 1\nretry = 9\nheartbeat = 4\n");
    assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_string_equal(report.changed, "heartbeat");
    assert_string_equal(report.needs_restart, "");
    assert_int_equal(configuration.options->history_size, 7);
    assert_int_equal(configuration.options->retry_ms, 2000);
    configuration_deinit(&configuration);
}

static void test_reload_gives_back_the_default_of_what_left_the_file(void **state)
{
    struct configuration configuration;
    struct reload_report report;
    (void)state;
    write_file("history-size = 1\nallowed-origins = *\n");
    load(&configuration, 2, with_file, NULL);
    write_file("");
    assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_string_equal(report.changed, "allowed-origins history-size");
    assert_int_equal(configuration.options->history_size, 100);
    assert_int_equal(configuration.options->allowed_origins.count, 0);
    configuration_deinit(&configuration);
}

static void test_reload_keeps_value_and_place_of_what_needs_a_restart(void **state)
{
    struct configuration configuration;
    struct reload_report report;
    char expected[64];
    (void)state;
    write_file("http = :1\nhttp = :2\nstatic-dir = a\nanonymous = yes\nlog-format = json\n");
    load(&configuration, 2, with_file, NULL);
    write_file("\n\nhttp = :3\nstatic-dir = b\nanonymous = no\nlog-format = logfmt\n");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
        assert_string_equal(report.needs_restart, "http static-dir anonymous log-format");
        assert_string_equal(report.changed, "");
    }
    assert_int_equal(configuration.options->http.count, 2);
    assert_string_equal(configuration.options->static_dir, "a");
    assert_true(configuration.options->anonymous);
    snprintf(expected, sizeof(expected), "%s:3", path);
    assert_string_equal(source_of(&configuration, "static-dir"), expected);
    configuration_deinit(&configuration);
}

static void test_reload_of_a_bad_or_missing_file_changes_nothing(void **state)
{
    struct configuration configuration;
    struct reload_report report;
    (void)state;
    write_file("history-size = 5\n");
    load(&configuration, 2, with_file, NULL);
    const struct options *before = configuration.options;
    write_file("history-size = 6\nretry = never\n");
    assert_int_not_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_non_null(strstr(error, ":2: retry = 'never' must be a number of seconds"));
    assert_int_equal(unlink(path), 0);
    assert_int_not_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_non_null(strstr(error, "cannot read the configuration file"));
    assert_ptr_equal(configuration.options, before);
    assert_int_equal(configuration.options->history_size, 5);
    configuration_deinit(&configuration);
}

static void test_command_line_before_environment_before_file(void **state)
{
    struct configuration configuration;
    char *arguments[] = {"--config", path, "--history-size=7"};
    char *environment[] = {"SLUICE_HISTORY_SIZE=8", "SLUICE_HEARTBEAT=2s",
                           "SLUICE_ALLOWED_ORIGINS=http://a, http://b", NULL};
    (void)state;
    write_file("history-size = 9\nheartbeat = 3\nretry = 4s ; a comment\nallowed-origins = http://c\n");
    assert_int_equal(try_load(&configuration, 3, arguments, environment), 0);
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
    assert_int_not_equal(try_load(&configuration, 2, arguments, NULL), 0);
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
    expect_file_error("allowed-origins = example.com\n", "https://host");
    expect_file_error("histroy-size = 1\n", "did you mean 'history-size'?");
    expect_file_error("retry = 1\nretry = 2\n", "given twice");
    expect_file_error("[section]\nretry = 1\n", "there is no section [section]");
    expect_file_error("retry\n", "not 'name = value'");
    expect_file_error("poll-wait = 10m\n", "must not be over poll-wait-max");
}

static void test_sections_hold_for_the_channels_that_they_name(void **state)
{
    struct configuration configuration;
    struct channel_options found;
    (void)state;
    write_file("history-size = 5\n[channel \"news/*\"]\nhistory-size = 7\nsubscribe = anyone\n[channel "
               "\"empty\"]\n");
    load(&configuration, 2, with_file, NULL);
    channel_options_resolve(&found, configuration.options, text_of("news/x"));
    assert_int_equal(found.history_size, 7);
    assert_int_equal(found.subscribe, SUBSCRIBERS_ANYONE);
    channel_options_resolve(&found, configuration.options, text_of("empty"));
    assert_int_equal(found.history_size, 5);
    configuration_deinit(&configuration);
}

static void test_wrong_sections_name_their_line_and_what_is_allowed(void **state)
{
    char expected[96];
    (void)state;
    snprintf(expected, sizeof(expected), "%s:2: ", path);
    expect_file_error("retry = 1\n[channel \"a b\"]\n", expected);
    expect_file_error("[channel \"a b\"]\n", "[channel \"a b\"]: a channel pattern is made of");
    expect_file_error("[channel \"user*\"]\n", "has '*' as a whole segment only");
    expect_file_error("[channel]\n", "needs a pattern, as [channel \"news/*\"]");
    expect_file_error("[server]\n", "there is no section [server]; sections are [channel \"PATTERN\"]");
    expect_file_error(
        "[channel \"a\"]\nretry = 1\n",
        "retry holds for the whole server and stands before the first section; a section may have "
        "subscribe publish history-size history-ttl history-bytes channel-ttl message-size "
        "idempotency-time");
    expect_file_error("[channel \"a\"]\nconfig = x\n", "command line or in the environment only");
    expect_file_error("[channel \"a\"]\nhistry-size = 1\n", "did you mean 'history-size'?");
    expect_file_error("[channel \"a\"]\npublish = all\n", "publish = 'all' must be of auto|key|token");
    expect_file_error("[channel \"a\"]\nhistory-size = 1\nhistory-size = 2\n",
                      "history-size is given twice in [channel \"a\"] (first at line 2)");
    expect_file_error("[channel \"a\"]\n[channel \"b\"]\n[channel \"a\"]\n",
                      "3: [channel \"a\"] is there twice (first at line 1)");
}

static void test_reload_takes_sections_over(void **state)
{
    struct configuration configuration;
    struct reload_report report;
    struct channel_options found;
    (void)state;
    write_file("[channel \"a\"]\nhistory-size = 5\n");
    load(&configuration, 2, with_file, NULL);
    struct options *kept = options_ref(configuration.options);
    assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_string_equal(report.changed, "");
    write_file("retry = 3\n[channel \"a\"]\nhistory-size = 6\n");
    assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_string_equal(report.changed, "retry [channel]");
    channel_options_resolve(&found, configuration.options, text_of("a"));
    assert_int_equal(found.history_size, 6);
    channel_options_resolve(&found, kept, text_of("a"));
    assert_int_equal(found.history_size, 5);
    options_unref(kept);
    write_file("[channel \"a\"]\nhistory-size = x\n");
    assert_int_not_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    channel_options_resolve(&found, configuration.options, text_of("a"));
    assert_int_equal(found.history_size, 6);
    write_file("");
    assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_string_equal(report.changed, "retry [channel]");
    configuration_deinit(&configuration);
}

static void test_wrong_arguments_are_named(void **state)
{
    struct configuration configuration;
    char *unknown[] = {"--histori-size", "1"};
    char *missing[] = {"--history-size"};
    char *stray[] = {"history-size"};
    char *environment[] = {"SLUICE_RETRY=soon", NULL};
    (void)state;
    assert_int_not_equal(try_load(&configuration, 2, unknown, NULL), 0);
    assert_non_null(strstr(error, "did you mean 'history-size'?"));
    configuration_deinit(&configuration);
    assert_int_not_equal(try_load(&configuration, 1, missing, NULL), 0);
    assert_non_null(strstr(error, "--history-size needs a value"));
    configuration_deinit(&configuration);
    assert_int_not_equal(try_load(&configuration, 1, stray, NULL), 0);
    assert_non_null(strstr(error, "options begin with --"));
    configuration_deinit(&configuration);
    assert_int_not_equal(try_load(&configuration, 0, NULL, environment), 0);
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
    assert_int_equal(try_load(&configuration, 3, arguments, NULL), 0);
    assert_true(configuration.options->anonymous);
    configuration_deinit(&configuration);
    assert_int_equal(try_load(&configuration, 2, negated, NULL), 0);
    assert_false(configuration.options->anonymous);
    configuration_deinit(&configuration);
    assert_int_equal(try_load(&configuration, 2, spelled, NULL), 0);
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
    assert_int_equal(try_load(&configuration, 2, arguments, NULL), 0);
    struct options *kept = options_ref(configuration.options);
    write_file("history-size = 6\nshards = 2\n");
    assert_int_equal(configuration_reload(&configuration, NULL, &report, error), 0);
    assert_string_equal(report.changed, "history-size");
    assert_string_equal(report.needs_restart, "shards");
    assert_int_equal(configuration.options->history_size, 6);
    assert_int_equal(configuration.options->shards, 1);
    assert_int_equal(kept->history_size, 5);
    options_unref(kept);
    write_file("history-size = 7\nshards = x\n");
    assert_int_not_equal(configuration_reload(&configuration, NULL, &report, error), 0);
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
    unlink(path); /* a test may have removed it */
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_command_line_before_environment_before_file),
    cmocka_unit_test(test_wrong_values_name_option_value_place_and_what_is_allowed),
    cmocka_unit_test(test_sections_hold_for_the_channels_that_they_name),
    cmocka_unit_test(test_wrong_sections_name_their_line_and_what_is_allowed),
    cmocka_unit_test(test_reload_takes_sections_over),
    cmocka_unit_test(test_wrong_arguments_are_named),
    cmocka_unit_test(test_booleans_stand_alone_and_can_be_negated),
    cmocka_unit_test(test_reload_takes_what_it_may_and_reports_the_rest),
    cmocka_unit_test(test_sources_are_named),
    cmocka_unit_test(test_repeatable_options_add_up_within_a_source_only),
    cmocka_unit_test(test_an_empty_list_overrides_a_weaker_source),
    cmocka_unit_test(test_the_file_may_be_named_in_the_environment_but_not_in_itself),
    cmocka_unit_test(test_files_that_cannot_be_read_are_errors),
    cmocka_unit_test(test_an_error_names_the_first_wrong_line),
    cmocka_unit_test(test_values_longer_than_a_terminal_still_say_what_is_allowed),
    cmocka_unit_test(test_a_long_value_comes_whole_out_of_a_file),
    cmocka_unit_test(test_options_that_contradict_each_other_are_named_with_their_places),
    cmocka_unit_test(test_the_longest_hold_may_be_the_usual_one),
    cmocka_unit_test(test_held_answers_outlast_no_proxy_by_default),
    cmocka_unit_test(test_variables_that_are_no_options_are_named),
    cmocka_unit_test(test_a_static_directory_that_is_not_there_is_told),
    cmocka_unit_test(test_unknown_arguments_are_suggested_without_their_value),
    cmocka_unit_test(test_reload_keeps_command_line_and_environment),
    cmocka_unit_test(test_reload_gives_back_the_default_of_what_left_the_file),
    cmocka_unit_test(test_reload_keeps_value_and_place_of_what_needs_a_restart),
    cmocka_unit_test(test_reload_of_a_bad_or_missing_file_changes_nothing),
};

int main(void)
{
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
