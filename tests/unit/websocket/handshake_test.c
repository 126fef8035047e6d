/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "websocket/handshake.h"

/* The example of RFC 6455, section 1.3. */
static void test_the_key_is_answered_as_in_the_standard(void **state)
{
    char accept[HANDSHAKE_ACCEPT_SIZE];
    (void)state;
    handshake_accept(accept, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void test_the_clients_first_choice_that_is_known_is_taken(void **state)
{
    static const char *const known[] = {"sluice.v1+json", "sluice.v1+raw", NULL};
    (void)state;
    assert_string_equal(handshake_choose("sluice.v1+json", known), "sluice.v1+json");
    assert_string_equal(handshake_choose("x , sluice.v1+raw,sluice.v1+json", known), "sluice.v1+raw");
    assert_null(handshake_choose("x, y", known));
    assert_null(handshake_choose("SLUICE.V1+RAW", known));
    assert_null(handshake_choose(",,", known));
    assert_null(handshake_choose("", known));
    assert_null(handshake_choose(NULL, known));
    assert_null(handshake_choose("sluice.v1+raw", NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_key_is_answered_as_in_the_standard),
    cmocka_unit_test(test_the_clients_first_choice_that_is_known_is_taken),
};
UNIT_MAIN(tests)
