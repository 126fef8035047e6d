/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "transport/tcp/glob.h"

struct glob_case {
    const char *pattern;
    const char *text;
};

static bool matches(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
    struct glob glob;
    glob_compile(&glob, pattern, pattern_len);
    return glob_matches(&glob, text, len);
}

static void expect(const struct glob_case *cases, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++) {
        const char *pattern = cases[i].pattern;
        const char *text = cases[i].text;
        if (matches(pattern, strlen(pattern), text, strlen(text)) != expected)
            fail_msg("'%s' and '%s': not %d", pattern, text, expected);
    }
}

static void test_glob_matches_as_redis_does(void **state)
{
    static const struct glob_case good[] = {
        {"", ""},          {"*", ""},          {"**", "a/b"},         {"a*c", "abbc"},       {"a*c", "ac"},
        {"*b*d", "abcbd"}, {"h?llo", "hello"}, {"h[ae]llo", "hallo"}, {"h[^e]llo", "hallo"}, {"[a-c]x", "bx"},
        {"[c-a]x", "bx"},  {"a\\*b", "a*b"},   {"[\\]]", "]"},        {"[a-", "-"},          {"[abc", "c"},
        {"a\\", "a\\"},    {"*/*", "a/b/c"},   {"a*b*c", "aXbXbXc"},  {"[^", "a"},
    };
    (void)state;
    expect(good, sizeof(good) / sizeof(good[0]), true);
}

static void test_glob_refuses_the_rest(void **state)
{
    static const struct glob_case bad[] = {
        {"", "a"},        {"a", ""},         {"?", ""},
        {"a*c", "abb"},   {"a", "A"},        {"h[^e]llo", "hello"},
        {"[a-c]x", "dx"}, {"a\\*b", "axb"},  {"[]", "a"},
        {"[abc", "d"},    {"*b", "ab/"},     {"[\\a-c]", "b"},
        {"a?", "a"},      {"a*b*c", "aXbX"}, {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa"},
    };
    (void)state;
    expect(bad, sizeof(bad) / sizeof(bad[0]), false);
}

static void test_glob_takes_any_byte(void **state)
{
    (void)state;
    assert_true(matches("[\x80-\xff]\0*", 7, "\xe9\0x", 3));
    assert_false(matches("[\x80-\xff]", 5, "a", 1));
}

static void test_glob_has_a_place_for_each_byte_of_the_longest_pattern(void **state)
{
    char pattern[GLOB_MAX];
    char text[GLOB_MAX];
    (void)state;
    for (size_t len = 1; len <= GLOB_MAX; len++) {
        memset(pattern, 'a', len);
        memset(text, 'a', len);
        pattern[len - 1] = '?';
        text[len - 1] = 'b';
        assert_true(matches(pattern, len, text, len));
        assert_false(matches(pattern, len, text, len - 1));
        pattern[len - 1] = 'a';
        assert_false(matches(pattern, len, text, len));
        pattern[0] = '*';
        text[len - 1] = 'a';
        assert_true(matches(pattern, len, text, len));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_glob_matches_as_redis_does),
    cmocka_unit_test(test_glob_refuses_the_rest),
    cmocka_unit_test(test_glob_takes_any_byte),
    cmocka_unit_test(test_glob_has_a_place_for_each_byte_of_the_longest_pattern),
};

UNIT_MAIN(tests)
