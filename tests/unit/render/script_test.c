/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/container.h"
#include "render/script.h"

static void test_callbacks_are_of_a_small_alphabet(void **state)
{
    static const char *const good[] = {
        "a", "cb_1", "Sluice.take", "_", ".", "0", "abcdefghijklmnopqrstuvwxyzABCDEF"};
    static const char *const bad[] = {"",
                                      "a b",
                                      "a(",
                                      "alert(1)",
                                      "a;",
                                      "a<",
                                      "a/",
                                      "a\n",
                                      "é",
                                      "a-b",
                                      "a[0]",
                                      "$",
                                      "abcdefghijklmnopqrstuvwxyzABCDEFG"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        assert_true(script_callback_is_valid(text_of(good[i])));
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(script_callback_is_valid(text_of(bad[i])));
    assert_false(script_callback_is_valid((struct text){"a\0b", 3}));
    assert_false(script_callback_is_valid((struct text){0}));
}

static void expect(void (*append)(struct buf *, const char *, size_t), const char *json, const char *expected)
{
    struct buf text = {0};
    append(&text, json, strlen(json));
    buf_append(&text, "", 1);
    assert_false(text.has_failed);
    assert_string_equal(text.bytes, expected);
    buf_deinit(&text);
}

static void test_nothing_ends_the_script_or_hides_its_end(void **state)
{
    (void)state;
    expect(script_append, "\"</script>\"", "\"<\\/script>\"");
    expect(script_append, "\"<!--<script>\"", "\"\\u003c!--<script>\"");
    expect(script_append, "\"<</<!a<\"", "\"<<\\/\\u003c!a<\"");
    expect(script_append, "{\"a<b\":[1,\"<p>/\"]}", "{\"a<b\":[1,\"<p>/\"]}");
    expect(script_append, "", "");
    expect(script_append, "<", "<");
}

static void test_line_ends_of_unicode_are_escaped(void **state)
{
    (void)state;
    expect(script_append,
           "\"a\xe2\x80\xa8\xe2\x80\xa9"
           "b\"",
           "\"a\\u2028\\u2029b\"");
    expect(script_append, "\"\xe2\x80\xa7\xe2\x82\xac\"", "\"\xe2\x80\xa7\xe2\x82\xac\"");
}

static void test_values_that_could_name_proto_are_parsed(void **state)
{
    (void)state;
    expect(script_append_value, "{\"a\":\"</b>\"}", "{\"a\":\"<\\/b>\"}");
    expect(script_append_value, "{\"__proto__\":{\"a\":1},\"__proto__\":\"</\"}",
           "JSON.parse(\"{\\\"__proto__\\\":{\\\"a\\\":1},\\\"__proto__\\\":\\\"<\\/\\\"}\")");
    expect(script_append_value, "{\"\\u005f_proto__\":1}", "JSON.parse(\"{\\\"\\\\u005f_proto__\\\":1}\")");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_callbacks_are_of_a_small_alphabet),
    cmocka_unit_test(test_nothing_ends_the_script_or_hides_its_end),
    cmocka_unit_test(test_line_ends_of_unicode_are_escaped),
    cmocka_unit_test(test_values_that_could_name_proto_are_parsed),
};
UNIT_MAIN(tests)
