/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "config/file.h"

struct seen {
    char text[16384];
    unsigned stop_at; /* line; 0 is never */
};

static int take(void *context, const char *name, const char *value, unsigned line)
{
    struct seen *seen = context;
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof(seen->text) - len, "%u:%s=%s|", line, name, value);
    return line == seen->stop_at;
}

static int take_section(void *context, struct text kind, struct text argument, unsigned line)
{
    struct seen *seen = context;
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof(seen->text) - len, "%u:[%.*s%s%.*s]|", line, (int)kind.len, kind.bytes,
             argument.bytes ? " " : "", (int)argument.len, argument.bytes ? argument.bytes : "");
    return line == seen->stop_at;
}

static struct seen seen;
static struct file_fault fault;

static int read_bytes(const char *bytes, size_t len)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    rewind(file);
    seen.text[0] = '\0';
    int err = file_read(file, take, take_section, &seen, &fault);
    fclose(file);
    return err;
}

static void expect_pairs(const char *text, const char *expected)
{
    assert_int_equal(read_bytes(text, strlen(text)), 0);
    assert_string_equal(seen.text, expected);
}

static void expect_fault(const char *text, unsigned line, const char *expected)
{
    assert_int_equal(read_bytes(text, strlen(text)), -EINVAL);
    assert_int_equal(fault.line, line);
    if (!strstr(fault.text, expected))
        fail_msg("'%s' does not say '%s'", fault.text, expected);
}

static void test_pairs_come_with_their_lines(void **state)
{
    (void)state;
    expect_pairs("", "");
    expect_pairs("a = 1\n\nb=2\n  c  =  3  \nd: 4\r\ne = last", "1:a=1|3:b=2|4:c=3|5:d=4|6:e=last|");
    expect_pairs("\xef\xbb\xbf"
                 "a = 1\n",
                 "1:a=1|");
    expect_pairs("a =\n", "1:a=|");
}

static void test_comments_end_values_only_after_a_space_and_semicolon(void **state)
{
    (void)state;
    expect_pairs("# a = 1\n; b = 2\n  # c = 3\n", "");
    expect_pairs("a = x ; y\n", "1:a=x|");
    expect_pairs("a = x;y#z\n", "1:a=x;y#z|");
    expect_pairs("a = x # y\n", "1:a=x # y|");
    expect_pairs("a = redis://u:p=w@h:1/0?x=y\n", "1:a=redis://u:p=w@h:1/0?x=y|");
}

static void test_what_is_no_pair_is_a_fault_on_its_own_line(void **state)
{
    (void)state;
    expect_fault("a = 1\nnonsense\nb = 2\n", 2, "not 'name = value'");
    assert_string_equal(seen.text, "1:a=1|");
}

static void test_sections_come_with_their_lines_even_when_empty(void **state)
{
    (void)state;
    expect_pairs("a = 1\n[core]\nb = 2\n  [ channel  \"x/*\" ] ; c\n[last \"\"]",
                 "1:a=1|2:[core]|3:b=2|4:[channel x/*]|5:[last ]|");
    expect_pairs("\xef\xbb\xbf[core]\r\na = 1\n", "1:[core]|2:a=1|");
    expect_pairs("[a \"]\"]\n[b \"; c\"]\n[c \"d ; e\"]", "1:[a ]]|2:[b ; c]|3:[c d ; e]|");
}

/* libinih cuts the name of a section after 49 bytes. */
static void test_a_section_is_as_long_as_its_line(void **state)
{
    char text[320] = "[channel \"";
    (void)state;
    memset(text + strlen(text), 'x', 255);
    strcat(text, "\"]\na = 1\n");
    assert_int_equal(read_bytes(text, strlen(text)), 0);
    assert_int_equal(strlen(seen.text), strlen("1:[channel ]|2:a=1|") + 255);
}

static void test_what_opens_no_section_is_a_fault_on_its_own_line(void **state)
{
    static const char *const bad[] = {"[core",   "[",           "[]",      "[\"a\"]",    "[a \"b]",
                                      "[a] b",   "[a \"b\" c]", "[a] = 1", "[a \"b\"",   "[a]]",
                                      "[a] # b", "[a \"b\"\"]", "[ ]",     "[a \"b\"] x"};
    char text[64];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "a = 1\n%s\nb = 2\n", bad[i]);
        expect_fault(text, 2, "a section opens with [KIND \"NAME\"]");
        assert_string_equal(seen.text, "1:a=1|");
    }
}

static void test_long_lines_are_whole_or_refused(void **state)
{
    static char text[FILE_LINE_MAX + 64];
    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "a = ", 4);
    strcpy(text + FILE_LINE_MAX - 2, "\n");
    assert_int_equal(read_bytes(text, strlen(text)), 0);
    assert_int_equal(strlen(seen.text), strlen("1:a=|") + FILE_LINE_MAX - 2 - 4);
    memset(text, 'x', sizeof(text));
    memcpy(text, "a = 1\na = ", 10);
    strcpy(text + FILE_LINE_MAX + 5, "\nb = 1\n");
    expect_fault(text, 2, "longer than 8190 bytes");
    assert_string_equal(seen.text, "1:a=1|");
}

static void test_nul_bytes_are_refused(void **state)
{
    static const char text[] = "a = 1\nb = 2\0 3\n";
    (void)state;
    assert_int_equal(read_bytes(text, sizeof(text) - 1), -EINVAL);
    assert_int_equal(fault.line, 2);
    assert_string_equal(seen.text, "1:a=1|");
}

static void test_a_folder_is_not_an_empty_file(void **state)
{
    (void)state;
    FILE *folder = fopen("/", "re");
    assert_non_null(folder);
    assert_int_equal(file_read(folder, take, take_section, &seen, &fault), -EINVAL);
    assert_int_equal(fault.line, 0);
    assert_string_equal(fault.text, strerror(EISDIR));
    fclose(folder);
}

static void test_the_taker_can_stop(void **state)
{
    (void)state;
    seen.stop_at = 2;
    assert_int_equal(read_bytes("a = 1\nb = 2\nnonsense\n", 21), -ECANCELED);
    assert_string_equal(seen.text, "1:a=1|2:b=2|");
    assert_int_equal(read_bytes("a = 1\n[b]\nnonsense\n", 19), -ECANCELED);
    assert_string_equal(seen.text, "1:a=1|2:[b]|");
    seen.stop_at = 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pairs_come_with_their_lines),
    cmocka_unit_test(test_comments_end_values_only_after_a_space_and_semicolon),
    cmocka_unit_test(test_what_is_no_pair_is_a_fault_on_its_own_line),
    cmocka_unit_test(test_sections_come_with_their_lines_even_when_empty),
    cmocka_unit_test(test_a_section_is_as_long_as_its_line),
    cmocka_unit_test(test_what_opens_no_section_is_a_fault_on_its_own_line),
    cmocka_unit_test(test_long_lines_are_whole_or_refused),
    cmocka_unit_test(test_nul_bytes_are_refused),
    cmocka_unit_test(test_a_folder_is_not_an_empty_file),
    cmocka_unit_test(test_the_taker_can_stop),
};
UNIT_MAIN(tests)
