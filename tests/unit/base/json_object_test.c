/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/json_object.h"

static const char *const names[] = {"op", "ref", "data", NULL};
static char fault[JSON_OBJECT_FAULT_MAX];
static struct json_object object;

static void read_object(const char *text)
{
    char why[JSON_FAULT_MAX];
    struct text value;
    json_object_deinit(&object);
    assert_int_equal(json_scan(&value, text, strlen(text), why), 0);
    json_object_read(&object, value, names);
}

static void expect_refused(const char *text, uint32_t allowed, const char *why)
{
    read_object(text);
    assert_int_equal(json_object_check(&object, allowed, "a thing", fault), -EINVAL);
    assert_string_equal(fault, why);
}

static void test_members_are_found_as_they_are_written(void **state)
{
    struct text string;
    (void)state;
    read_object(" {\"data\": [1, {}] , \"op\":\"a\\u0062\\n\"}");
    assert_int_equal(json_object_check(&object, 7, "a thing", fault), 0);
    assert_true(text_is(object.values[2], "[1, {}]"));
    assert_null(object.values[1].bytes);
    assert_int_equal(json_object_string(&object, 0, &string, fault), 0);
    assert_true(text_is(string, "ab\n"));
    assert_int_equal(json_object_string(&object, 1, &string, fault), 0);
    assert_null(string.bytes);
    assert_int_equal(json_object_string(&object, 2, &string, fault), -EINVAL);
    assert_string_equal(fault, "\"data\" must be a string");
}

static void test_a_name_may_be_escaped(void **state)
{
    (void)state;
    read_object("{\"\\u006fp\":1}");
    assert_true(text_is(object.values[0], "1"));
}

static void test_the_first_of_a_name_counts_and_a_second_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"ref\":1,\"ref\":2}", 7, "\"ref\" is given twice");
    assert_true(text_is(object.values[1], "1"));
}

static void test_other_members_are_refused_with_those_there_are(void **state)
{
    (void)state;
    expect_refused("{\"x\":1,\"op\":2,\"y\":3}", 7, "a thing has no member \"x\"; it has op, ref and data");
    assert_true(text_is(object.values[0], "2"));
    expect_refused("{\"\":1}", 5, "a thing has no member \"\"; it has op and data");
    expect_refused("{\"data\":1}", 1, "a thing has no member \"data\"; it has op");
}

static void test_what_is_no_object_is_refused(void **state)
{
    (void)state;
    expect_refused("[]", 7, "a thing must be an object");
    expect_refused("1", 7, "a thing must be an object");
}

static void test_a_long_name_is_cut_between_characters(void **state)
{
    char text[256] = "{\"";
    (void)state;
    for (int i = 0; i < 40; i++)
        strcat(text, "\xc3\xa9");
    strcat(text, "\":1}");
    read_object(text);
    assert_int_equal(json_object_check(&object, 7, "a thing", fault), -EINVAL);
    assert_true(text_is_utf8(fault, strlen(fault), NULL));
}

static int deinit(void **state)
{
    (void)state;
    json_object_deinit(&object);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_found_as_they_are_written),
        cmocka_unit_test(test_a_name_may_be_escaped),
        cmocka_unit_test(test_the_first_of_a_name_counts_and_a_second_is_refused),
        cmocka_unit_test(test_other_members_are_refused_with_those_there_are),
        cmocka_unit_test(test_what_is_no_object_is_refused),
        cmocka_unit_test(test_a_long_name_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, deinit);
}
