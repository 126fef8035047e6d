/* SPDX-License-Identifier: MIT */
#include "auth/jwks.h"

#include <stdio.h>

#include "auth/auth.h"
#include "base/container.h"

#define OCT "\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\""
#define EC                                                                                                   \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

static void test_what_makes_no_key_is_refused_with_its_reason(void **state)
{
    static const struct {
        const char *file;
        const char *fault;
    } rows[] = {
        {"", "is not JSON"},
        {"[]", "an array \"keys\""},
        {"{\"keys\":{}}", "an array \"keys\""},
        {"{\"keys\":[]}", "has no key that verifies"},
        {"{\"keys\":[],\"keys\":[]}", "a member twice"},
        {"{\"keys\":[7]}", "key 1 must be an object"},
        {"{\"keys\":[{" OCT ",\"alg\":\"HS256\"},{}]}", "key 2 has no kty"},
        {"{\"keys\":[{" OCT "}]}", "has no alg"},
        {"{\"keys\":[{" OCT ",\"alg\":\"HS384\"}]}", "a secret of 32 bytes; HS384 wants at least 48"},
        {"{\"keys\":[{" OCT ",\"alg\":\"RS256\"}]}", "a kty that is not the one of RS256"},
        {"{\"keys\":[{" EC ",\"alg\":\"HS256\"}]}", "a kty that is not the one of HS256"},
        {"{\"keys\":[{" EC ",\"alg\":\"ES384\"}]}", "another curve than ES384"},
        {"{\"keys\":[{" EC ",\"d\":\"AA\"}]}", "is a private key"},
        {"{\"keys\":[{" EC ",\"kid\":7}]}", "\"kid\" must be a string"},
        {"{\"keys\":[{" EC ",\"kid\":\"a\\u0000b\"}]}", "has a kid that must have"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}", "make no key"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"}]}",
         "\"k\" that is not base64url without padding"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZnull= $m\"}]}",
         "\"k\" that is not base64url"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"_____w\",\"e\":\"AQAB\"}]}", "an RSA modulus of 32 bits"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}", "make no key"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}", "has no key that verifies"},
        {"{\"keys\":[{" EC ",\"use\":\"enc\"}]}", "has no key that verifies"},
        {"{\"keys\":[{" EC ",\"key_ops\":[\"sign\"]}]}", "has no key that verifies"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\"}]}", "has no key that verifies"},
        {"{\"keys\":[{" EC "},{" EC "},{" EC "}]}", "more than 2 keys"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct verifier verifiers[2];
        char fault[JWKS_FAULT_MAX] = "";
        size_t count = 0;
        assert_int_not_equal(jwks_parse(verifiers, &count, 2, text_of(rows[i].file), fault), 0);
        if (!strstr(fault, rows[i].fault))
            fail_msg("%s: %s", rows[i].file, fault);
        while (count > 0)
            verifier_deinit(&verifiers[--count]);
    }
}

static void test_the_algorithm_of_a_key_is_the_one_it_names_or_can_only_have(void **state)
{
    static const struct {
        const char *key;
        enum algorithm algorithm;
        const char *kid;
    } rows[] = {
        {OCT ",\"alg\":\"HS256\"", ALGORITHM_HS256, NULL},
        {EC, ALGORITHM_ES256, NULL},
        {EC ",\"alg\":\"ES256\",\"kid\":\"a\",\"use\":\"sig\",\"key_ops\":[\"verify\"],\"x5t\":7",
         ALGORITHM_ES256, "a"},
        {EC ",\"kid\":\"\"", ALGORITHM_ES256, ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct verifier verifier;
        char fault[JWKS_FAULT_MAX] = "";
        char file[1024];
        size_t count = 0;
        snprintf(file, sizeof(file), "{\"keys\":[{%s}],\"more\":1}", rows[i].key);
        assert_int_equal(jwks_parse(&verifier, &count, 1, text_of(file), fault), 0);
        assert_int_equal(verifier.algorithm, rows[i].algorithm);
        assert_true((verifier.kid.bytes != NULL) == (rows[i].kid != NULL));
        assert_true(!rows[i].kid || text_is(verifier.kid, rows[i].kid));
        verifier_deinit(&verifier);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_makes_no_key_is_refused_with_its_reason),
        cmocka_unit_test(test_the_algorithm_of_a_key_is_the_one_it_names_or_can_only_have),
    };
    return cmocka_run_group_tests(tests, auth_set_up, auth_tear_down);
}
