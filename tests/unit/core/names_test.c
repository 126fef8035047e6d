/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_names_take_the_alphabet),
    cmocka_unit_test(test_names_refuse_the_rest),
    cmocka_unit_test(test_names_have_255_bytes_at_most),
};
UNIT_MAIN(tests)
