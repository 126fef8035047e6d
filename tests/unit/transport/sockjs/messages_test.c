/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/container.h"
#include "transport/sockjs/messages.h"

/* The messages with a comma behind each. */
static int read_all(const char *text, bool is_form, char to[256])
{
    struct messages messages;
    struct text message;
    int err =
        is_form ? messages_begin_form(&messages, text_of(text)) : messages_begin(&messages, text_of(text));
    to[0] = '\0';
    if (err)
        return err;
    while (messages_get(&messages, &message) == 1) {
        strncat(to, message.bytes, message.len);
        strcat(to, ",");
        messages_next(&messages);
    }
    messages_deinit(&messages);
    return 0;
}

static void expect(const char *text, bool is_form, const char *messages)
{
    char found[256];
    assert_int_equal(read_all(text, is_form, found), 0);
    assert_string_equal(found, messages);
}

static void test_messages_are_an_array_of_strings_or_one(void **state)
{
    (void)state;
    expect("[\"a\",\"b\"]", false, "a,b,");
    expect(" [ \"a\" ] ", false, "a,");
    expect("\"alone\"", false, "alone,");
    expect("[]", false, "");
    expect("[\"\\u00e9\\n\"]", false, "\xc3\xa9\n,");
}

static void test_messages_refuse_anything_else(void **state)
{
    static const char *const broken[] = {"[\"a",      "[1]",           "{}",      "x", "[\"a\",null]",
                                         "[[\"a\"]]", "[\"\\ud800\"]", "[\"a\"]x"};
    char found[256];
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(broken); i++)
        assert_int_equal(read_all(broken[i], false, found), -EINVAL);
    assert_int_equal(read_all("", false, found), -ENODATA);
}

static void test_messages_of_a_form_are_its_field_d(void **state)
{
    char found[256];
    (void)state;
    expect("d=%5B%22x+%2B%22%5D", true, "x +,");
    expect("a=b&d=[\"x\"]&d=[\"y\"]", true, "x,");
    assert_int_equal(read_all("d=", true, found), -ENODATA);
    assert_int_equal(read_all("p=p", true, found), -ENODATA);
    assert_int_equal(read_all("", true, found), -ENODATA);
    assert_int_equal(read_all("d=%5B%22x", true, found), -EINVAL);
    assert_int_equal(read_all("d=%zz", true, found), -EINVAL);
}

static void test_messages_come_again_until_the_next(void **state)
{
    struct messages messages;
    struct text message;
    (void)state;
    assert_int_equal(messages_begin(&messages, text_of("[\"a\"]")), 0);
    assert_int_equal(messages_get(&messages, &message), 1);
    assert_int_equal(messages_get(&messages, &message), 1);
    assert_true(text_is(message, "a"));
    messages_next(&messages);
    assert_int_equal(messages_get(&messages, &message), 0);
    messages_deinit(&messages);
}

static void expect_behind(const char *text, size_t count, const char *first)
{
    struct messages messages;
    struct text message;
    assert_int_equal(messages_begin(&messages, text_of(text)), 0);
    messages_skip(&messages, count);
    assert_int_equal(messages_get(&messages, &message), first ? 1 : 0);
    if (first)
        assert_true(text_is(message, first));
    messages_deinit(&messages);
}

static void test_messages_can_be_passed_over(void **state)
{
    (void)state;
    expect_behind("[\"a\",\"b\",\"c\"]", 0, "a");
    expect_behind("[\"a\",\"b\",\"c\"]", 2, "c");
    expect_behind("[\"a\",\"b\",\"c\"]", 3, NULL);
    expect_behind("[\"a\"]", 9, NULL);
    expect_behind("\"a\"", 0, "a");
    expect_behind("\"a\"", 1, NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_messages_are_an_array_of_strings_or_one),
    cmocka_unit_test(test_messages_refuse_anything_else),
    cmocka_unit_test(test_messages_of_a_form_are_its_field_d),
    cmocka_unit_test(test_messages_come_again_until_the_next),
    cmocka_unit_test(test_messages_can_be_passed_over),
};

UNIT_MAIN(tests)
