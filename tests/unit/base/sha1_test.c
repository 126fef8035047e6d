/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/sha1.h"

static void expect_digest(const char *text, size_t len, const char *expected)
{
    uint8_t digest[SHA1_SIZE];
    char hex[2 * SHA1_SIZE + 1];
    sha1_digest(digest, text, len);
    for (size_t i = 0; i < SHA1_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, expected);
}

/* The examples of FIPS 180, and the lengths at which the padding changes. */
static void test_texts_have_the_digests_of_the_standard(void **state)
{
    char filler[SHA1_MOST];
    (void)state;
    memset(filler, 'a', sizeof(filler));
    expect_digest("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect_digest("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    expect_digest(filler, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    expect_digest(filler, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    expect_digest(filler, 119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_texts_have_the_digests_of_the_standard),
};
UNIT_MAIN(tests)
