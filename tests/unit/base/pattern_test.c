/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/container.h"
#include "base/pattern.h"

static void test_patterns_are_names_stars_and_two_stars_at_the_end(void **state)
{
    static const char *const good[] = {"a",      "news/x",   "*",      "**",  "*/*",
                                       "news/*", "news/*/x", "*/x/**", "...", "a/.b"};
    static const char *const bad[] = {"",     "/",      "a/",       "/a",    "a//b",  ".",
                                      "a/..", "a b",    "\xc3\xa9", "user*", "*user", "a/***",
                                      "**/a", "a/**/b", "****",     "a/*/",  "a%",    "a?"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        if (pattern_fault(text_of(good[i])))
            fail_msg("'%s': %s", good[i], pattern_fault(text_of(good[i])));
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        if (!pattern_fault(text_of(bad[i])))
            fail_msg("'%s' was taken", bad[i]);
    assert_non_null(pattern_fault((struct text){"a\0b", 3}));
    assert_string_equal(pattern_fault(text_of("user*")),
                        "has '*' as a whole segment only, or '**' as the last one");
    assert_string_equal(pattern_fault(text_of("a/**/b")), "has '**' as its last segment only");
}

static void test_a_pattern_has_255_bytes_at_most(void **state)
{
    char pattern[PATTERN_MAX + 1];
    (void)state;
    memset(pattern, 'x', sizeof(pattern));
    assert_null(pattern_fault((struct text){pattern, PATTERN_MAX}));
    assert_string_equal(pattern_fault((struct text){pattern, PATTERN_MAX + 1}), "has at most 255 bytes");
}

static void test_a_pattern_covers_what_it_says(void **state)
{
    static const struct {
        const char *pattern;
        const char *name;
        bool covers;
    } cases[] = {
        {"news/x", "news/x", true},
        {"news/x", "news/y", false},
        {"news/x", "news", false},
        {"news/x", "news/x/y", false},
        {"*", "news", true},
        {"*", "news/x", false},
        {"**", "news", true},
        {"**", "news/x/y", true},
        {"news/*", "news/x", true},
        {"news/*", "news", false},
        {"news/*", "news/x/y", false},
        {"news/*", "newsx/x", false},
        {"news/**", "news", false},
        {"news/**", "news/x", true},
        {"news/**", "news/x/y/z", true},
        {"*/x", "news/x", true},
        {"*/x", "news/y", false},
        {"*/x/**", "a/x/b", true},
        {"*/x/**", "a/x", false},
        {"a/*/c", "a/b/c", true},
        {"a/*/c", "a/b/d", false},
        {"a", "ab", false},
        {"ab", "a", false},
        {"**", "$channel", false},
        {"**", "$channel/a", false},
        {"*", "$channel", false},
        {"*/a", "$channel/a", false},
        {"$channel/**", "$channel/a", true},
        {"$channel", "$channel", true},
        {"a/**", "a/$presence", true},
        {"**", "a/$presence", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        if (pattern_matches(text_of(cases[i].pattern), text_of(cases[i].name)) != cases[i].covers)
            fail_msg("%s and %s", cases[i].pattern, cases[i].name);
}

static void test_a_literal_comes_before_a_star_before_two_from_the_left(void **state)
{
    /* All cover a/b/c; each is more specific than the next. */
    static const char *const falling[] = {"a/b/c", "a/b/*", "a/b/**", "a/*/c", "a/*/*",  "a/*/**",
                                          "a/**",  "*/b/c", "*/b/**", "*/*/c", "*/*/**", "**"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(falling); i++) {
        assert_true(pattern_matches(text_of(falling[i]), text_of("a/b/c")));
        for (size_t j = 0; j < ARRAY_LENGTH(falling); j++) {
            int order = pattern_compare(text_of(falling[i]), text_of(falling[j]));
            if ((i < j && order >= 0) || (i == j && order != 0) || (i > j && order <= 0))
                fail_msg("%s and %s: %d", falling[i], falling[j], order);
        }
    }
}

static void test_names_have_no_segment_that_is_a_wildcard(void **state)
{
    (void)state;
    assert_null(pattern_name_fault(text_of("a*/**b/***")));
    assert_non_null(pattern_name_fault(text_of("*")));
    assert_non_null(pattern_name_fault(text_of("a/*/b")));
    assert_non_null(pattern_name_fault(text_of("a/**")));
    assert_non_null(pattern_name_fault(text_of("**/a")));
    assert_string_equal(pattern_name_fault(text_of("a//b")),
                        "has no empty, '.' or '..' segment between its slashes");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_patterns_are_names_stars_and_two_stars_at_the_end),
    cmocka_unit_test(test_a_pattern_has_255_bytes_at_most),
    cmocka_unit_test(test_a_pattern_covers_what_it_says),
    cmocka_unit_test(test_a_literal_comes_before_a_star_before_two_from_the_left),
    cmocka_unit_test(test_names_have_no_segment_that_is_a_wildcard),
};
UNIT_MAIN(tests)
