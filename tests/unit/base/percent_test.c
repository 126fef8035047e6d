/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/percent.h"

static void expect_decoded(const char *text, const char *expected)
{
    char to[64];
    size_t len = 0;
    assert_int_equal(percent_decode(to, &len, text, strlen(text)), 0);
    assert_int_equal(len, strlen(expected));
    assert_string_equal(to, expected);
}

static void expect_refused(const char *text)
{
    char to[64];
    size_t len;
    assert_int_equal(percent_decode(to, &len, text, strlen(text)), -EINVAL);
}

static void test_escapes_are_decoded(void **state)
{
    (void)state;
    expect_decoded("", "");
    expect_decoded("plain+text/~", "plain+text/~");
    expect_decoded("%41%7a%5A%2f%2F", "AzZ//");
    expect_decoded("%09%90%aF%Fa%ff", "\x09\x90\xaf\xfa\xff");
    expect_decoded("100%25", "100%");
}

static void test_broken_escapes_and_nul_bytes_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"%",   "%4",  "a%4", "%4g", "%g4",   "%:0", "%/0", "%@0",
                                        "%`0", "%0:", "%G0", "%00", "a%00b", "%-1", "% 1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_refused(texts[i]);
    char to[4];
    size_t len;
    assert_int_equal(percent_decode(to, &len, "%41", 2), -EINVAL);
    assert_int_equal(percent_decode(to, &len, "a\0b", 3), -EINVAL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_escapes_are_decoded),
    cmocka_unit_test(test_broken_escapes_and_nul_bytes_are_refused),
};
UNIT_MAIN(tests)
