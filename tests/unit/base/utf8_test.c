/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/text.h"
#include "base/utf8.h"

/* A text, cut in two wherever it can be, and byte by byte. Returns whether it is UTF-8. */
static bool is_text(const char *bytes, size_t len)
{
    bool expected = text_is_utf8(bytes, len, NULL);
    struct utf8 bytewise = {0};
    bool is_good = true;
    for (size_t i = 0; i < len && is_good; i++)
        is_good = utf8_take(&bytewise, bytes + i, 1);
    assert_int_equal(is_good && utf8_is_whole(&bytewise), expected);
    for (size_t cut = 0; cut <= len; cut++) {
        struct utf8 utf8 = {0};
        is_good =
            utf8_take(&utf8, bytes, cut) && utf8_take(&utf8, bytes + cut, len - cut) && utf8_is_whole(&utf8);
        assert_int_equal(is_good, expected);
    }
    return expected;
}

static bool is_good(const char *text)
{
    return is_text(text, strlen(text));
}

static void test_text_may_be_cut_anywhere(void **state)
{
    (void)state;
    assert_true(is_good(""));
    assert_true(is_good("plain"));
    assert_true(is_good("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5 \xf0\x9f\x92\xa7"));
    assert_true(is_good("\xef\xbf\xbf\xf4\x8f\xbf\xbf\xef\xbb\xbf"));
    assert_true(is_text("\0", 1));
}

static void test_what_is_not_utf8_is_found_wherever_it_is_cut(void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
        "a\xe2\x82",
        "a\xe2\x82z",
        "\xc3\xc3",
        "\xe2\x82\xac\x80",
        "\xf0\x9f\x92",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(is_good(bad[i]));
}

/* RFC 6455 lets who reads fail as soon as nothing can mend the text. */
static void test_a_character_that_cannot_be_one_any_more_is_refused_at_once(void **state)
{
    static const struct {
        const char *first;
        const char *second;
    } cases[] = {
        {"\xf4", "\x90"}, {"\xed", "\xa0"}, {"\xe0", "\x80"}, {"\xf0", "\x80"}, {"a\xe2\x82", "\x20"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct utf8 utf8 = {0};
        assert_true(utf8_take(&utf8, cases[i].first, strlen(cases[i].first)));
        assert_false(utf8_is_whole(&utf8));
        assert_false(utf8_take(&utf8, cases[i].second, 1));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_text_may_be_cut_anywhere),
    cmocka_unit_test(test_what_is_not_utf8_is_found_wherever_it_is_cut),
    cmocka_unit_test(test_a_character_that_cannot_be_one_any_more_is_refused_at_once),
};
UNIT_MAIN(tests)
