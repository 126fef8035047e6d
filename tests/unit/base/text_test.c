/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/container.h"
#include "base/text.h"

static void expect_text(struct text text, const char *expected)
{
    if (!text_is(text, expected))
        fail_msg("'%.*s' is not '%s'", (int)text.len, text.bytes, expected);
}

static void test_a_word_is_that_word_whole(void **state)
{
    (void)state;
    assert_true(text_is(text_of("json"), "json"));
    assert_false(text_is(text_of("jso"), "json"));
    assert_false(text_is(text_of("jsonl"), "json"));
    assert_false(text_is(text_of("JSON"), "json"));
    assert_true(text_is_word(text_of("JSON"), "json"));
    assert_false(text_is_word(text_of("JSO"), "json"));
    assert_true(text_is((struct text){0}, ""));
    assert_false(text_is((struct text){0}, "x"));
}

static void test_beginnings_and_ends_are_no_longer_than_the_text(void **state)
{
    (void)state;
    assert_true(text_begins(text_of("q=1"), "q="));
    assert_false(text_begins(text_of("Q=1"), "q="));
    assert_true(text_begins_word(text_of("Q=1"), "q="));
    assert_false(text_begins((struct text){"q=", 1}, "q="));
    assert_false(text_begins_word((struct text){"q=", 1}, "q="));
    assert_true(text_ends(text_of("text/*"), "/*"));
    assert_false(text_ends((struct text){&"/*"[1], 1}, "/*"));
    assert_true(text_contains(text_of("a b"), " "));
    assert_false(text_contains((struct text){"a b", 1}, " "));
}

static void test_space_is_trimmed_at_both_ends_only(void **state)
{
    (void)state;
    expect_text(text_trim(text_of(" \t a b\t ")), "a b");
    expect_text(text_trim(text_of(" \t ")), "");
    expect_text(text_trim((struct text){0}), "");
}

static void test_text_is_cut_at_each_mark_until_nothing_is_left(void **state)
{
    struct text rest = text_of(" a ,,b");
    (void)state;
    expect_text(text_cut(&rest, ','), "a");
    expect_text(rest, ",b");
    expect_text(text_cut(&rest, ','), "");
    expect_text(text_cut(&rest, ','), "b");
    assert_int_equal(rest.len, 0);
    rest = text_of("a,");
    expect_text(text_cut(&rest, ','), "a");
    assert_int_equal(rest.len, 0);
}

static void test_a_word_is_found_before_the_end_of_the_list(void **state)
{
    static const char *const words[] = {"text", "json", NULL, "binary"};
    (void)state;
    assert_int_equal(text_index(text_of("json"), words, ARRAY_LENGTH(words)), 1);
    assert_int_equal(text_index(text_of("json"), words, 1), 1);
    assert_int_equal(text_index(text_of("js"), words, ARRAY_LENGTH(words)), ARRAY_LENGTH(words));
    assert_int_equal(text_index(text_of("binary"), words, ARRAY_LENGTH(words)), ARRAY_LENGTH(words));
}

static void test_the_first_byte_that_is_not_utf8_is_named(void **state)
{
    size_t bad = 0;
    (void)state;
    assert_true(text_is_utf8("\xe2\x82\xac", 3, &bad));
    assert_false(text_is_utf8("ab\xff", 3, &bad));
    assert_int_equal(bad, 2);
    assert_false(text_is_utf8("\xe2\x82\xac", 2, NULL));
    assert_true(text_is_utf8("all of it is ASCII", 18, &bad));
    assert_true(text_is_utf8("the euro is \xe2\x82\xac here", 20, &bad));
    assert_false(text_is_utf8("the euro is \xe2\x82 here", 19, &bad));
    assert_int_equal(bad, 12);
}

static void test_only_printable_bytes_are_counted_as_such(void **state)
{
    char text[32];
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool is_printable = byte >= 0x20 && byte <= 0x7e;
        for (size_t at = 0; at < sizeof(text); at++) {
            memset(text, ' ' + (int)(byte % 95), sizeof(text));
            text[at] = (char)byte;
            size_t count = text_count_printable(text, sizeof(text));
            assert_int_equal(count, is_printable ? sizeof(text) : at / 8 * 8);
        }
    }
    assert_int_equal(text_count_printable("1234567", 7), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_word_is_that_word_whole),
    cmocka_unit_test(test_beginnings_and_ends_are_no_longer_than_the_text),
    cmocka_unit_test(test_space_is_trimmed_at_both_ends_only),
    cmocka_unit_test(test_text_is_cut_at_each_mark_until_nothing_is_left),
    cmocka_unit_test(test_a_word_is_found_before_the_end_of_the_list),
    cmocka_unit_test(test_the_first_byte_that_is_not_utf8_is_named),
    cmocka_unit_test(test_only_printable_bytes_are_counted_as_such),
};
UNIT_MAIN(tests)
