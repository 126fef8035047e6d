/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/container.h"
#include "core/names.h"

static void test_names_take_the_alphabet(void **state)
{
    static const char *const good[] = {"a",   "updates", "a/b/c", "A-Z_0.9~:@!$'()*+,;=", "...", "a/.b",
                                       "..a", "a*",      "***"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!channel_name_is_valid(good[i], strlen(good[i])))
            fail_msg("'%s' was refused", good[i]);
}

static void test_names_refuse_the_rest(void **state)
{
    static const char *const bad[] = {"",         "/",    "a/",  "/a",  "a//b", ".",    "..",   "a/../b",
                                      "a/.",      "a b",  "a%b", "a?b", "a#b",  "a\\b", "a\"b", "a<b>",
                                      "\xc3\xa9", "a\nb", "*",   "**",  "a/*",  "a/**", "*/a",  "a/**/b"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (channel_name_is_valid(bad[i], strlen(bad[i])))
            fail_msg("'%s' was taken", bad[i]);
    assert_false(channel_name_is_valid("a\0b", 3));
}

static void test_names_have_255_bytes_at_most(void **state)
{
    char name[CHANNEL_NAME_MAX + 1];
    (void)state;
    memset(name, 'x', sizeof(name));
    assert_true(channel_name_is_valid(name, CHANNEL_NAME_MAX));
    assert_string_equal(channel_name_fault(name, CHANNEL_NAME_MAX + 1), "has at most 255 bytes");
}

static void test_names_with_a_segment_that_begins_with_a_dollar_are_reserved(void **state)
{
    static const char *const reserved[] = {"$",      "$channel", "$channel/a", "a/$presence",
                                           "a/$b/c", "a$/$",     "$a$",        "a/b/$"};
    static const char *const free_names[] = {"a", "a$", "a$/b", "a/b$c", "!$"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(reserved); i++)
        if (!channel_name_is_reserved(text_of(reserved[i])))
            fail_msg("%s", reserved[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(free_names); i++)
        if (channel_name_is_reserved(text_of(free_names[i])))
            fail_msg("%s", free_names[i]);
}

static void test_the_owner_of_a_presence_channel_is_what_stands_before(void **state)
{
    static const char *const others[] = {"a",
                                         "$presence",
                                         "a/$presence/b",
                                         "a/x$presence",
                                         "$channel/$presence",
                                         "a/$presence/$presence",
                                         "a/$presenc"};
    struct text owner = channel_name_of_presence(text_of("news/a/$presence"));
    (void)state;
    assert_true(text_is(owner, "news/a"));
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        if (channel_name_of_presence(text_of(others[i])).bytes)
            fail_msg("%s", others[i]);
}

static void test_names_that_are_made_have_255_bytes_at_most(void **state)
{
    char name[CHANNEL_NAME_MAX];
    char made[CHANNEL_NAME_MAX];
    (void)state;
    memset(name, 'x', sizeof(name));
    assert_int_equal(channel_name_make_presence(made, (struct text){name, 245}), 255);
    assert_int_equal(channel_name_make_presence(made, (struct text){name, 246}), 0);
    assert_int_equal(channel_name_make_events(made, (struct text){name, 246}), 255);
    assert_int_equal(channel_name_make_events(made, (struct text){name, 247}), 0);
    assert_int_equal(channel_name_make_events(made, text_of("a")), 10);
    assert_memory_equal(made, "$channel/a", 10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_names_take_the_alphabet),
    cmocka_unit_test(test_names_refuse_the_rest),
    cmocka_unit_test(test_names_have_255_bytes_at_most),
    cmocka_unit_test(test_names_with_a_segment_that_begins_with_a_dollar_are_reserved),
    cmocka_unit_test(test_the_owner_of_a_presence_channel_is_what_stands_before),
    cmocka_unit_test(test_names_that_are_made_have_255_bytes_at_most),
};
UNIT_MAIN(tests)
