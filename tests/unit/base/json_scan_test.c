/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_scan.h"

/* In a block of exactly its size, so that AddressSanitizer sees a read beyond it. */
static int scan(const char *text, size_t len, char fault[JSON_FAULT_MAX])
{
    struct text value;
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    int err = json_scan(&value, copy, len, fault);
    free(copy);
    return err;
}

static void test_values_are_accepted(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "10",
        "1.50",
        "-1e5",
        "1E+5",
        "2e-05",
        "123456789012345678901234567890",
        "1e999",
        "\"\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\x7f\"",
        "true",
        "false",
        "null",
        "[]",
        "[ ]",
        "{}",
        "{\n}",
        "[1,2]",
        " [ 1 , [ ] , { } ] \r\n\t",
        "{\"a\":1,\"a\":2}",
        "{ \"a\" : { \"\" : [ null ] } }",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xef\xbf\xbf\"",
        "{\"\\u0000\":1}",
    };
    char fault[JSON_FAULT_MAX] = "";
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (scan(texts[i], strlen(texts[i]), fault))
            fail_msg("%s: %s", texts[i], fault);
}

static void test_what_is_no_json_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        const char *fault;
    } cases[] = {
        {"", "line 1, column 1: the text ends too early"},
        {" \n", "line 2, column 1: the text ends too early"},
        {"nul", "line 1, column 1: a value is expected"},
        {"True", "line 1, column 1: a value is expected"},
        {"'a'", "line 1, column 1: a value is expected"},
        {"\xef\xbb\xbf{}", "line 1, column 1: a value is expected"},
        {"01", "line 1, column 2: something stands behind the value"},
        {"1 2", "line 1, column 3: something stands behind the value"},
        {"{} x", "line 1, column 4: something stands behind the value"},
        {"-", "line 1, column 2: the text ends too early"},
        {"-a", "line 1, column 2: a digit is expected"},
        {"1.", "line 1, column 3: the text ends too early"},
        {"1.e5", "line 1, column 3: a digit is expected"},
        {"[1e+]", "line 1, column 5: a digit is expected"},
        {"[1e-x]", "line 1, column 5: a digit is expected"},
        {"+1", "line 1, column 1: a value is expected"},
        {".5", "line 1, column 1: a value is expected"},
        {"\"a", "line 1, column 3: the text ends too early"},
        {"\"a\\", "line 1, column 3: \\u wants four hexadecimal digits"},
        {"\"a\nb\"", "line 1, column 3: a control character in a string must be escaped"},
        {"\"\x1f\"", "line 1, column 2: a control character in a string must be escaped"},
        {"\"\\x\"", "line 1, column 2: there is no such escape"},
        {"\"\\u12g4\"", "line 1, column 2: \\u wants four hexadecimal digits"},
        {"\"\\u123", "line 1, column 2: \\u wants four hexadecimal digits"},
        {"\"\\ud800\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\udbff x\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\ud800\\ud800\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\ud800\\ue000\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\udc00\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\udfff\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\xc3\xa9\xff\"", "line 1, column 3: the text is not UTF-8"},
        {"\"\xc3\"", "line 1, column 2: the text is not UTF-8"},
        {"\"\xc0\x80\"", "line 1, column 2: the text is not UTF-8"},
        {"\"\xed\xa0\x80\"", "line 1, column 2: the text is not UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "line 1, column 2: the text is not UTF-8"},
        {"[1 2]", "line 1, column 4: a comma or ] is expected"},
        {"[1,]", "line 1, column 4: a value is expected"},
        {"[,1]", "line 1, column 2: a value is expected"},
        {"[1}", "line 1, column 3: a comma or ] is expected"},
        {"[", "line 1, column 2: the text ends too early"},
        {"{\"a\" 1}", "line 1, column 6: a colon is expected"},
        {"{\"a\":}", "line 1, column 6: a value is expected"},
        {"{\"a\":1,}", "line 1, column 8: a string is expected"},
        {"{a:1}", "line 1, column 2: a string is expected"},
        {"{\"a\":1]", "line 1, column 7: a comma or } is expected"},
        {"{\"a\":[1},2]", "line 1, column 8: a comma or ] is expected"},
        {"[1,\n \"\xc3\xa9\", x]", "line 2, column 7: a value is expected"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char fault[JSON_FAULT_MAX] = "";
        assert_int_equal(scan(cases[i].text, strlen(cases[i].text), fault), -EINVAL);
        assert_string_equal(fault, cases[i].fault);
    }
    char fault[JSON_FAULT_MAX];
    assert_int_equal(scan("1\0", 2, fault), -EINVAL);
    assert_int_equal(scan("\"\0\"", 3, fault), -EINVAL);
}

/* Whatever stands where in the eight bytes that are looked at together. */
static void test_each_byte_of_a_string_is_looked_at(void **state)
{
    char fault[JSON_FAULT_MAX];
    (void)state;
    for (size_t at = 1; at < 25; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[26];
            memset(text, 'x', sizeof(text));
            text[0] = text[25] = '"';
            text[at] = (char)byte;
            bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            if (scan(text, sizeof(text), fault) != (is_plain ? 0 : -EINVAL))
                fail_msg("byte %u at %zu: %s", byte, at, fault);
        }
    }
}

static void test_nesting_has_a_bound(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 2];
    char fault[JSON_FAULT_MAX];
    (void)state;
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(scan(text, 2 * depth, fault), depth <= JSON_DEPTH_MAX ? 0 : -EINVAL);
    }
    assert_string_equal(fault, "line 1, column 2049: values are nested too deeply");
    /* A value in the innermost array is one more. */
    memset(text, '[', JSON_DEPTH_MAX);
    text[JSON_DEPTH_MAX] = '1';
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX);
    assert_int_equal(scan(text, 2 * JSON_DEPTH_MAX + 1, fault), -EINVAL);
}

static void expect_span(struct text span, const char *text)
{
    if (span.len != strlen(text) || memcmp(span.bytes, text, span.len) != 0)
        fail_msg("'%.*s' is not '%s'", (int)span.len, span.bytes, text);
}

static struct text span_of(const char *text)
{
    struct text value;
    char fault[JSON_FAULT_MAX];
    assert_int_equal(json_scan(&value, text, strlen(text), fault), 0);
    return value;
}

static void test_spans_are_the_bytes_without_the_space_around(void **state)
{
    (void)state;
    expect_span(span_of(" \r\n\t{ \"a\" :  1 }\n"), "{ \"a\" :  1 }");
    expect_span(span_of("0.10"), "0.10");
}

static void test_members_and_elements_are_walked_in_order(void **state)
{
    struct json_walk walk;
    (void)state;
    json_walk_begin(&walk, span_of("[ 1 ,[2, 3 ], {\"a\":[]} ,\"],\\\"\" ]"));
    const char *const elements[] = {"1", "[2, 3 ]", "{\"a\":[]}", "\"],\\\"\""};
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_walk_next(&walk));
        expect_span(walk.value, elements[i]);
    }
    assert_false(json_walk_next(&walk));
    assert_false(json_walk_next(&walk));
    json_walk_begin(&walk, span_of("{ \"a\" : { } , \"b\":2.50 ,\"a\":[ ] }"));
    const char *const members[][2] = {{"\"a\"", "{ }"}, {"\"b\"", "2.50"}, {"\"a\"", "[ ]"}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(json_walk_next(&walk));
        expect_span(walk.name, members[i][0]);
        expect_span(walk.value, members[i][1]);
    }
    assert_false(json_walk_next(&walk));
}

static void test_empty_containers_have_nothing_to_walk(void **state)
{
    static const char *const texts[] = {"[]", "[ ]", "{}", "{\n}"};
    struct json_walk walk;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        json_walk_begin(&walk, span_of(texts[i]));
        assert_false(json_walk_next(&walk));
    }
}

static void test_a_string_is_decoded_by_jansson(void **state)
{
    (void)state;
    struct json_value *value = json_value_parse(span_of("\"\\u0000\\ud83d\\ude00\\n\""));
    assert_non_null(value);
    struct text text = json_value_text(value);
    assert_int_equal(text.len, 6);
    assert_memory_equal(text.bytes, "\0\xf0\x9f\x98\x80\n", 6);
    json_value_free(value);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_values_are_accepted),
    cmocka_unit_test(test_what_is_no_json_is_refused_with_its_place),
    cmocka_unit_test(test_each_byte_of_a_string_is_looked_at),
    cmocka_unit_test(test_nesting_has_a_bound),
    cmocka_unit_test(test_spans_are_the_bytes_without_the_space_around),
    cmocka_unit_test(test_members_and_elements_are_walked_in_order),
    cmocka_unit_test(test_empty_containers_have_nothing_to_walk),
    cmocka_unit_test(test_a_string_is_decoded_by_jansson),
};
UNIT_MAIN(tests)
