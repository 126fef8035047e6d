/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/base64.h"
#include "base/container.h"

typedef int base64_decode_fn(char *to, size_t *to_len, const char *text, size_t len);

static bool is_read(base64_decode_fn *decode, const char *text, size_t len)
{
    char bytes[32];
    size_t count;
    assert_true(len <= sizeof(bytes));
    int err = decode(bytes, &count, text, len);
    assert_true(err == 0 || err == -EINVAL);
    return err == 0;
}

static void test_base64_reads_what_it_writes(void **state)
{
    static const char bytes[] = "\xfb\xff\xbf\0\x80 any";
    char text[64];
    char again[64];
    size_t len;
    (void)state;
    for (size_t size = 0; size < sizeof(bytes); size++) {
        base64_encode(text, bytes, size);
        assert_int_equal(strlen(text), base64_size(size));
        assert_int_equal(base64_decode(again, &len, text, strlen(text)), 0);
        assert_int_equal(len, size);
        assert_memory_equal(again, bytes, size);
        base64_url_encode(text, bytes, size);
        assert_int_equal(strlen(text), base64_url_size(size));
        assert_int_equal(base64_url_decode(again, &len, text, strlen(text)), 0);
        assert_int_equal(len, size);
        assert_memory_equal(again, bytes, size);
    }
}

/* Each byte of the one alphabet, and none of the other 192: libsodium 1.0.18 takes all above 0x7f. */
static void test_base64_has_an_alphabet(void **state)
{
    static const char common[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[4] = "AAAA";
        bool is_common = byte && strchr(common, (int)byte);
        for (size_t at = 0; at < sizeof(text); at++) {
            memset(text, 'A', sizeof(text));
            text[at] = (char)byte;
            bool is_end = byte == '=' && at == 3;
            if (is_read(base64_decode, text, 4) != (is_common || byte == '+' || byte == '/' || is_end))
                fail_msg("byte %u at %zu", byte, at);
            if (is_read(base64_url_decode, text, 4) != (is_common || byte == '-' || byte == '_'))
                fail_msg("byte %u at %zu, for URLs", byte, at);
        }
    }
}

static void test_base64_is_strict_about_its_end(void **state)
{
    static const char *const padded[] = {
        "A", "AA", "AA=", "AAA", "AA==A", "AA==AA==", "AB==", "AAB=", "AAAA=", "A===", "AA\n="};
    static const char *const for_urls[] = {"A", "AA=", "AA==", "AB", "AAB", "AAAAA", "AA\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(padded); i++)
        if (is_read(base64_decode, padded[i], strlen(padded[i])))
            fail_msg("'%s' is read", padded[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(for_urls); i++)
        if (is_read(base64_url_decode, for_urls[i], strlen(for_urls[i])))
            fail_msg("'%s' is read, for URLs", for_urls[i]);
    assert_true(is_read(base64_decode, "AA==", 4) && is_read(base64_decode, "AAA=", 4));
    assert_true(is_read(base64_url_decode, "AA", 2) && is_read(base64_url_decode, "AAA", 3));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_base64_reads_what_it_writes),
    cmocka_unit_test(test_base64_has_an_alphabet),
    cmocka_unit_test(test_base64_is_strict_about_its_end),
};

UNIT_MAIN(tests)
