/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "capture.h"
#include "cli/cli.h"
#include "config/options.h"

static struct capture output;
static struct capture errors;

static int run(char *first, char *second)
{
    char *arguments[] = {"sluice", first, second, NULL};
    int count = second ? 3 : 2;
    char *environment[] = {NULL};
    capture_begin(&output, STDOUT_FILENO);
    capture_begin(&errors, STDERR_FILENO);
    int status = cli_run(count, arguments, environment);
    capture_end(&errors);
    capture_end(&output);
    return status;
}

static void expect_in(const char *text, const char *expected)
{
    if (!strstr(text, expected))
        fail_msg("'%s' does not say '%s'", text, expected);
}

static void test_every_form_of_help_has_every_option(void **state)
{
    static char *const forms[] = {"--format=text", "--format=markdown", "--format=man"};
    (void)state;
    for (size_t form = 0; form < 2; form++) {
        assert_int_equal(run("help", forms[form]), 0);
        for (size_t i = 0; i < option_count; i++) {
            expect_in(output.text, option_rows[i].name);
            expect_in(output.text, option_rows[i].help);
        }
    }
    assert_int_equal(run("help", forms[2]), 0);
    expect_in(output.text, "\\fB\\-\\-history\\-size\\fR \\fIN, 0 to 1000000\\fR\n");
}

static void test_help_is_given_wherever_it_is_asked_for(void **state)
{
    static char *const asks[][2] = {
        {"help", NULL}, {"--help", NULL}, {"-h", NULL}, {"serve", "--help"}, {"check-config", "-h"}};
    (void)state;
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        assert_int_equal(run(asks[i][0], asks[i][1]), 0);
        expect_in(output.text, "Usage: sluice");
    }
}

static void test_version_is_told(void **state)
{
    (void)state;
    static char *const words[] = {"--version", "version", "-V"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(run(words[i], NULL), 0);
        expect_in(output.text, "sluice ");
    }
}

static void test_wrong_words_end_with_2(void **state)
{
    (void)state;
    assert_int_equal(run("fly", NULL), CLI_EXIT_USAGE);
    expect_in(errors.text, "there is no subcommand 'fly'; see sluice --help");
    assert_int_equal(run("serv", NULL), CLI_EXIT_USAGE);
    expect_in(errors.text, "there is no subcommand 'serv'; did you mean 'serve'?");
    assert_int_equal(run("-p", "8081"), CLI_EXIT_USAGE);
    expect_in(errors.text, "there is no option '-p'; options begin with --");
    assert_int_equal(run("check-config", "--histry=1"), CLI_EXIT_USAGE);
    expect_in(errors.text, "no option 'histry'; did you mean 'history-size'?");
    assert_int_equal(run("help", "--format=pdf"), CLI_EXIT_USAGE);
    assert_int_equal(run("check-config", "--retry=never"), CLI_EXIT_USAGE);
    expect_in(errors.text, "command line: retry = 'never' must be");
    assert_int_equal(run("--no-such-option", NULL), CLI_EXIT_USAGE);
    assert_string_equal(output.text, "");
}

static void test_check_config_prints_value_and_source(void **state)
{
    (void)state;
    assert_int_equal(run("check-config", "--retry=5000ms"), 0);
    expect_in(output.text, "retry = 5s    ; command line\n");
    expect_in(output.text, "history-size = 100    ; default\n");
}

static void test_check_config_finds_what_a_start_would(void **state)
{
    (void)state;
    assert_int_equal(run("check-config", "--static-dir=/no/such/folder"), CLI_EXIT_USAGE);
    expect_in(errors.text, "command line: static-dir = '/no/such/folder' cannot be served: No such file");
    assert_int_equal(run("check-config", "--broker=redis://:secret@host:abc"), CLI_EXIT_USAGE);
    expect_in(errors.text, "broker: host:abc: the port must be a number");
    assert_null(strstr(errors.text, "secret"));
    assert_int_equal(run("check-config", "--broker=redis://:secret@host:6379/1"), 0);
    assert_int_equal(run("check-config", "--tcp=127.0.0.1:0 framing=x"), CLI_EXIT_USAGE);
    assert_int_equal(run("check-config", "--tcp=0.0.0.0:0"), CLI_EXIT_USAGE);
    expect_in(errors.text, "refusing to listen on 0.0.0.0:0");
    assert_int_equal(run("check-config", "--static-dir="), 0);
}

static void test_check_config_names_variables_that_are_no_options(void **state)
{
    char *arguments[] = {"sluice", "check-config", "--static-dir=", NULL};
    char *environment[] = {"SLUICE_HISTRY_SIZE=1", "SLUICE_COLOUR=red", NULL};
    (void)state;
    capture_begin(&output, STDOUT_FILENO);
    capture_begin(&errors, STDERR_FILENO);
    int status = cli_run(3, arguments, environment);
    capture_end(&errors);
    capture_end(&output);
    assert_int_equal(status, 0);
    assert_string_equal(
        errors.text,
        "sluice: the environment's SLUICE_HISTRY_SIZE is no option; did you mean SLUICE_HISTORY_SIZE?\n"
        "sluice: the environment's SLUICE_COLOUR is no option\n");
}

static void test_a_full_disk_is_told(void **state)
{
    char *arguments[] = {"sluice", "help", NULL};
    (void)state;
    FILE *full = fopen("/dev/full", "we");
    assert_non_null(full);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_true(saved >= 0 && dup2(fileno(full), STDOUT_FILENO) >= 0);
    capture_begin(&errors, STDERR_FILENO);
    int status = cli_run(2, arguments, NULL);
    capture_end(&errors);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    fclose(full);
    clearerr(stdout);
    assert_int_equal(status, CLI_EXIT_FAILED);
    expect_in(errors.text, "No space left");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_form_of_help_has_every_option),
    cmocka_unit_test(test_help_is_given_wherever_it_is_asked_for),
    cmocka_unit_test(test_version_is_told),
    cmocka_unit_test(test_wrong_words_end_with_2),
    cmocka_unit_test(test_check_config_prints_value_and_source),
    cmocka_unit_test(test_check_config_finds_what_a_start_would),
    cmocka_unit_test(test_check_config_names_variables_that_are_no_options),
    cmocka_unit_test(test_a_full_disk_is_told),
};
UNIT_MAIN(tests)
