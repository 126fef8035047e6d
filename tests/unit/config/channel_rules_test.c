/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/pattern.h"
#include "config/channel_rules.h"

static struct options *options;

static int open_options(void **state)
{
    (void)state;
    options = options_new();
    options->rules = channel_rules_new();
    return options->rules ? 0 : -1;
}

static int close_options(void **state)
{
    (void)state;
    options_unref(options);
    return 0;
}

static void section(const char *pattern, unsigned line)
{
    assert_null(pattern_fault(text_of(pattern)));
    assert_int_equal(channel_rules_add(options->rules, text_of(pattern), line), 0);
}

static void set(enum channel_option option, const char *value)
{
    char fault[OPTION_FAULT_MAX];
    assert_int_equal(channel_rules_set(options->rules, option, value, 1, fault), 0);
}

static void compile(void)
{
    const struct channel_rule *first;
    const struct channel_rule *second;
    assert_int_equal(channel_rules_compile(options->rules, &first, &second), 0);
}

static struct channel_options resolve(const char *name)
{
    struct channel_options found;
    channel_options_resolve(&found, options, text_of(name));
    return found;
}

static void test_the_most_specific_section_wins_option_by_option(void **state)
{
    (void)state;
    section("**", 1);
    set(CHANNEL_OPTION_history_size, "1");
    set(CHANNEL_OPTION_message_size_bytes, "10");
    set(CHANNEL_OPTION_subscribe, "nobody");
    section("news/**", 2);
    set(CHANNEL_OPTION_history_size, "2");
    set(CHANNEL_OPTION_publish, "key,token");
    section("news/*", 3);
    set(CHANNEL_OPTION_history_size, "3");
    section("news/sport", 4);
    set(CHANNEL_OPTION_history_ttl_ms, "4s");
    section("*/sport", 5);
    set(CHANNEL_OPTION_history_ttl_ms, "5s");
    set(CHANNEL_OPTION_publish, "nobody");
    compile();
    struct channel_options found = resolve("news/sport");
    assert_int_equal(found.history_size, 3);
    assert_int_equal(found.history_ttl_ms, 4000);
    assert_int_equal(found.message_size_bytes, 10);
    assert_int_equal(found.subscribe, SUBSCRIBERS_NOBODY);
    assert_int_equal(found.publish, PUBLISHERS_KEY | PUBLISHERS_TOKEN);
    assert_int_equal(found.idempotency_time_ms, options->idempotency_time_ms);
    found = resolve("blog/sport");
    assert_int_equal(found.history_size, 1);
    assert_int_equal(found.history_ttl_ms, 5000);
    assert_int_equal(found.publish, PUBLISHERS_NOBODY);
    found = resolve("news/sport/tennis");
    assert_int_equal(found.history_size, 2);
    assert_int_equal(found.history_ttl_ms, options->history_ttl_ms);
    found = resolve("news");
    assert_int_equal(found.history_size, 1);
    assert_int_equal(found.publish, PUBLISHERS_AUTO);
}

static void test_what_no_section_covers_has_the_servers_options(void **state)
{
    (void)state;
    section("a/b", 1);
    set(CHANNEL_OPTION_history_size, "1");
    compile();
    assert_int_equal(resolve("a").history_size, 100);
    assert_int_equal(resolve("a/b/c").history_size, 100);
    assert_int_equal(resolve("a/bb").history_size, 100);
    assert_int_equal(resolve("a/b").history_size, 1);
}

static void test_no_section_at_all_is_no_rule(void **state)
{
    (void)state;
    compile();
    assert_int_equal(resolve("a").history_size, 100);
    assert_int_equal(channel_rules_count(NULL), 0);
    assert_true(channel_rules_equal(NULL, options->rules));
}

static void test_a_pattern_that_is_there_twice_is_told_with_both_lines(void **state)
{
    const struct channel_rule *first;
    const struct channel_rule *second;
    (void)state;
    section("news/*", 3);
    section("blog", 5);
    section("news/*", 9);
    assert_int_equal(channel_rules_compile(options->rules, &first, &second), -EEXIST);
    assert_int_equal(first->line, 3);
    assert_int_equal(second->line, 9);
}

static void expect_trees(const char *name, const char *lens)
{
    struct channel_trees trees;
    char text[64] = "";
    assert_int_equal(channel_trees_find(&trees, options, text_of(name)), 0);
    for (unsigned i = 0; i < trees.count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u ", trees.lens[i]);
    assert_string_equal(text, lens);
}

/* The tree against every pattern tried one after the other. */

static uint64_t naive_history_size(const char *const *patterns, size_t count, const char *name)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++)
        if (pattern_matches(text_of(patterns[i]), text_of(name)) &&
            (best == count || pattern_compare(text_of(patterns[i]), text_of(patterns[best])) < 0))
            best = i;
    return best < count ? best + 1 : 100;
}

/* The prefixes, each looked up by itself. */
static void naive_trees(const char *name, char lens[64])
{
    char prefix[32];
    lens[0] = '\0';
    for (size_t len = 1; len < strlen(name); len++) {
        snprintf(prefix, sizeof(prefix), "%.*s", (int)len, name);
        if (name[len] == '/' && resolve(prefix).tree)
            snprintf(lens + strlen(lens), 64 - strlen(lens), "%zu ", len);
    }
}

static void test_the_tree_finds_what_trying_all_patterns_finds(void **state)
{
    static const char *const patterns[] = {
        "a",      "b",     "*",        "**",    "a/b",     "a/*",     "a/**",   "*/b",
        "*/*",    "*/**",  "a/b/c",    "a/*/c", "*/b/c",   "*/*/c",   "*/*/**", "a/b/**",
        "b/a/**", "b/*/a", "a/a/a/**", "a/*/*", "b/b/b/b", "*/a/*/a",
    };
    static const char *const words[] = {"a", "b", "c", "ab"};
    (void)state;
    for (unsigned i = 0; i < ARRAY_LENGTH(patterns); i++) {
        char number[16];
        snprintf(number, sizeof(number), "%u", i + 1);
        section(patterns[i], i + 1);
        set(CHANNEL_OPTION_history_size, number);
        if (i % 4 < 3)
            set(CHANNEL_OPTION_tree, i % 3 > 0 ? "yes" : "no");
    }
    compile();
    for (unsigned depth = 1; depth <= 5; depth++) {
        for (unsigned code = 0; code < 1u << 2 * depth; code++) {
            char name[32] = "";
            for (unsigned i = 0; i < depth; i++)
                snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s%s", i > 0 ? "/" : "",
                         words[code >> 2 * i & 3]);
            assert_int_equal(resolve(name).history_size,
                             naive_history_size(patterns, ARRAY_LENGTH(patterns), name));
            char lens[64];
            naive_trees(name, lens);
            expect_trees(name, lens);
        }
    }
}

/* Each of the places of a tree is visited once at most. If every `*` were tried for each way to come to it,
 * these patterns would take 2^64 steps. */
static void test_deep_names_do_not_make_the_walk_exponential(void **state)
{
    char pattern[PATTERN_MAX + 1];
    char name[PATTERN_MAX + 1];
    (void)state;
    for (unsigned shape = 0; shape < 64; shape++) {
        /* Names and stars in turns, one of them turned over: of 128 segments no two are the same. */
        for (unsigned i = 0; i < 128; i++) {
            bool is_star = (i % 2 == 1) != (i == 2 * shape);
            pattern[2 * i] = is_star ? '*' : 'a';
            pattern[2 * i + 1] = '/';
        }
        pattern[PATTERN_MAX] = '\0';
        section(pattern, shape + 1);
        set(CHANNEL_OPTION_history_size, "1");
        pattern[PATTERN_MAX - 1] = 'b';
        section(pattern, shape + 100);
        set(CHANNEL_OPTION_message_size_bytes, "7");
    }
    compile();
    for (unsigned i = 0; i < PATTERN_MAX; i++)
        name[i] = i % 2 ? '/' : 'a';
    name[PATTERN_MAX] = '\0';
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(resolve(name).history_size, 1);
        assert_int_equal(resolve(name).message_size_bytes, options->message_size_bytes);
    }
    name[PATTERN_MAX - 1] = 'b';
    assert_int_equal(resolve(name).message_size_bytes, 7);
    assert_int_equal(resolve("a/a/a/a").history_size, 100);
}

static void test_values_are_written_as_in_the_file(void **state)
{
    (void)state;
    section("a", 1);
    set(CHANNEL_OPTION_publish, "token, key");
    set(CHANNEL_OPTION_history_bytes, "2048");
    compile();
    const struct channel_rule *rule = channel_rules_at(options->rules, 0);
    char *publish = channel_option_format(&rule->values, CHANNEL_OPTION_publish);
    char *bytes = channel_option_format(&rule->values, CHANNEL_OPTION_history_bytes);
    assert_string_equal(publish, "key,token");
    assert_string_equal(bytes, "2KiB");
    free(publish);
    free(bytes);
}

static void test_rows_and_channel_options_are_the_same_things(void **state)
{
    (void)state;
    for (enum channel_option i = 0; i < CHANNEL_OPTION_COUNT; i++) {
        assert_int_equal(channel_option_row(i)->flags, OPTION_CHANNEL);
        assert_int_equal(channel_option_of(channel_option_row(i)), i);
    }
    for (size_t i = 0; i < option_count - CHANNEL_OPTION_COUNT; i++)
        assert_int_not_equal(option_rows[i].flags, OPTION_CHANNEL);
    assert_string_equal(channel_option_row(CHANNEL_OPTION_history_ttl_ms)->name, "history-ttl");
}

static void test_trees_are_those_of_the_prefixes_whose_section_says_so(void **state)
{
    (void)state;
    section("news", 1);
    set(CHANNEL_OPTION_tree, "yes");
    section("news/*", 2);
    set(CHANNEL_OPTION_tree, "yes");
    section("news/quiet", 3);
    set(CHANNEL_OPTION_tree, "no");
    compile();
    expect_trees("news", "");
    expect_trees("news/sport", "4 ");
    expect_trees("news/sport/tennis", "4 10 ");
    expect_trees("news/sport/tennis/final", "4 10 ");
    expect_trees("news/quiet/tennis", "4 ");
    expect_trees("newspaper/sport", "");
    expect_trees("news/$presence", "");
    expect_trees("news/sport/$x/y", "");
    expect_trees("$channel/news/a", "");
}

static void test_without_a_section_that_has_trees_there_are_none(void **state)
{
    (void)state;
    section("news/**", 1);
    set(CHANNEL_OPTION_tree, "no");
    compile();
    expect_trees("news/sport/tennis", "");
    options->tree = true;
    expect_trees("other/a/b", "5 7 ");
    expect_trees("news/sport/tennis", "4 ");
}

static void test_a_channel_has_at_most_eight_trees_above_it(void **state)
{
    struct channel_trees trees;
    (void)state;
    section("**", 1);
    set(CHANNEL_OPTION_tree, "yes");
    compile();
    expect_trees("a/b/c/d/e/f/g/h/i", "1 3 5 7 9 11 13 15 ");
    assert_int_equal(channel_trees_find(&trees, options, text_of("a/b/c/d/e/f/g/h/i/j")), -E2BIG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_options, close_options)

static const struct CMUnitTest tests[] = {
    TEST(test_the_most_specific_section_wins_option_by_option),
    TEST(test_what_no_section_covers_has_the_servers_options),
    TEST(test_no_section_at_all_is_no_rule),
    TEST(test_a_pattern_that_is_there_twice_is_told_with_both_lines),
    TEST(test_the_tree_finds_what_trying_all_patterns_finds),
    TEST(test_deep_names_do_not_make_the_walk_exponential),
    TEST(test_values_are_written_as_in_the_file),
    TEST(test_rows_and_channel_options_are_the_same_things),
    TEST(test_trees_are_those_of_the_prefixes_whose_section_says_so),
    TEST(test_without_a_section_that_has_trees_there_are_none),
    TEST(test_a_channel_has_at_most_eight_trees_above_it),
};
UNIT_MAIN(tests)
