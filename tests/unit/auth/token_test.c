/* SPDX-License-Identifier: MIT */
#include "auth/token.h"

#include "auth/auth.h"
#include "auth/publishers.h"
#include "base/container.h"

#define NOW_S 1800000000
#define NOW_MS (NOW_S * INT64_C(1000))
#define HS256_HEADER "{\"alg\":\"HS256\"}"

/* The world that a test's tokens come to. */
struct world {
    struct options *options;
    struct auth_keys *keys;
};

static void world_load(struct world *world)
{
    char fault[AUTH_FAULT_MAX] = "";
    assert_int_equal(auth_keys_load(&world->keys, world->options, fault), 0);
}

/* With one HS256 key. */
static void world_init(struct world *world)
{
    world->options = options_new();
    auth_write_text("secret", AUTH_SECRET);
    auth_option_file(world->options, "jwt-key", "HS256:%s", "secret");
    world_load(world);
}

static void world_deinit(struct world *world)
{
    auth_keys_unref(world->keys);
    options_unref(world->options);
}

static enum error_code world_verify(const struct world *world, struct text token, struct grant **grant)
{
    char fault[AUTH_FAULT_MAX] = "";
    enum error_code error = token_verify(grant, world->keys, world->options, NULL, token, NOW_MS, fault);
    assert_true((error == ERROR_NONE) == (*grant != NULL));
    assert_true((error == ERROR_NONE) == (fault[0] == '\0'));
    for (const char *at = fault; *at; at++)
        assert_true((unsigned char)*at >= 0x20);
    return error;
}

static void expect(const struct world *world, const char *token, enum error_code wanted)
{
    struct grant *grant;
    enum error_code error = world_verify(world, text_of(token), &grant);
    if (error != wanted)
        fail_msg("%s: %s instead of %s", token, error ? error_name(error) : "good",
                 wanted ? error_name(wanted) : "good");
    grant_unref(grant);
}

static void test_token_grants_what_it_claims(void **state)
{
    struct world world;
    struct grant *grant;
    (void)state;
    world_init(&world);
    char *token = auth_sign(
        "{\"typ\":\"JWT\",\"alg\":\"HS256\"}",
        "{\"sub\":\"anna\",\"jti\":\"t1\",\"iat\":1799999990,\"exp\":1800000010.5,\"nbf\":1799999000,"
        "\"iss\":\"any\",\"name\":{\"x\":[1,2]},"
        "\"sluice\":{\"subscribe\":[\"news/*\",\"user/\\u0034\"],\"publish\":[\"chat/**\"],\"admin\":true}}");
    assert_int_equal(world_verify(&world, text_of(token), &grant), ERROR_NONE);
    assert_string_equal(grant->subject, "anna");
    assert_string_equal(grant->id, "t1");
    assert_int_equal(grant->issued_ms, INT64_C(1799999990000));
    assert_int_equal(grant->expires_ms, INT64_C(1800000010500) + TOKEN_LEEWAY_MS);
    assert_true(grant->is_admin);
    assert_false(grant->is_key);
    assert_true(grant_patterns_cover(&grant->subscribe, text_of("news/a")));
    assert_false(grant_patterns_cover(&grant->subscribe, text_of("news/a/b")));
    assert_true(grant_patterns_cover(&grant->subscribe, text_of("user/4")));
    assert_false(grant_patterns_cover(&grant->subscribe, text_of("chat/a")));
    assert_true(grant_patterns_cover(&grant->publish, text_of("chat/a/b")));
    assert_true(auth_keys_hold(world.keys, grant));
    grant_unref(grant);
    world_deinit(&world);
}

static void test_token_without_claims_grants_nothing(void **state)
{
    struct world world;
    struct grant *grant;
    (void)state;
    world_init(&world);
    assert_int_equal(world_verify(&world, text_of(auth_sign(HS256_HEADER, "{}")), &grant), ERROR_NONE);
    assert_string_equal(grant->subject, "");
    assert_int_equal(grant->expires_ms, INT64_MAX);
    assert_int_equal(grant->issued_ms, INT64_MIN);
    assert_false(grant->is_admin);
    assert_int_equal(grant->subscribe.count, 0);
    grant_unref(grant);
    world_deinit(&world);
}

static void test_token_header_is_judged(void **state)
{
    static const struct {
        const char *header;
        enum error_code error;
    } rows[] = {
        {"{\"alg\":\"HS256\",\"typ\":\"jwt\"}", ERROR_NONE},
        {"{\"alg\":\"HS256\",\"typ\":\"application/at+jwt\"}", ERROR_NONE},
        {" {\"\\u0061lg\" : \"HS\\u003256\"} ", ERROR_NONE},
        /* The keys that a header brings along are not looked at. */
        {"{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1:1/x\",\"x5u\":\"http://127.0.0.1:1/"
         "\",\"x5c\":[\"MII\"],"
         "\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}",
         ERROR_NONE},
        {"{\"alg\":\"HS256\",\"kid\":\"of nobody here\"}", ERROR_NONE}, /* the key has no id */
        {"{\"alg\":\"none\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"None\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"hs256\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256 \"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\\u0000\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS1\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"EdDSA\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":null}", ERROR_BAD_TOKEN},
        {"{\"alg\":[\"HS256\"]}", ERROR_BAD_TOKEN},
        {"{\"alg\":256}", ERROR_BAD_TOKEN},
        {"{}", ERROR_BAD_TOKEN},
        {"[]", ERROR_BAD_TOKEN},
        {"\"HS256\"", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\"", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\"} {}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS384\"}", ERROR_BAD_SIGNATURE}, /* the key is pinned to HS256 */
        {"{\"alg\":\"RS256\"}", ERROR_BAD_SIGNATURE},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"x\":{\"a\":1,\"a\":2}}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"x\":1e999}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"crit\":[]}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"b64\":false}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"b64\":true}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"typ\":7}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"kid\":7}", ERROR_BAD_TOKEN},
        {"{\"alg\":\"HS256\",\"kid\":{\"a\":1}}", ERROR_BAD_TOKEN},
    };
    struct world world;
    (void)state;
    world_init(&world);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        expect(&world, auth_sign(rows[i].header, "{}"), rows[i].error);
    world_deinit(&world);
}

static void test_token_claims_are_judged(void **state)
{
    static const struct {
        const char *claims;
        enum error_code error;
    } rows[] = {
        {"{\"exp\":1800000001}", ERROR_NONE},
        {"{\"exp\":1799999971}", ERROR_NONE}, /* within the leeway */
        {"{\"exp\":1799999970}", ERROR_TOKEN_EXPIRED},
        {"{\"exp\":1799999970.001}", ERROR_NONE},
        {"{\"exp\":1.8e9}", ERROR_NONE},
        {"{\"exp\":0}", ERROR_TOKEN_EXPIRED},
        {"{\"exp\":253402300799}", ERROR_NONE},
        {"{\"exp\":253402300800}", ERROR_BAD_TOKEN},
        {"{\"exp\":99999999999999999999999999999999}", ERROR_BAD_TOKEN},
        {"{\"exp\":1e300}", ERROR_BAD_TOKEN},
        {"{\"exp\":1e999}", ERROR_BAD_TOKEN},
        {"{\"exp\":1800000001.00000000000000000000000000000000000000000}", ERROR_BAD_TOKEN},
        {"{\"exp\":-1}", ERROR_BAD_TOKEN},
        {"{\"exp\":-0}", ERROR_BAD_TOKEN},
        {"{\"exp\":\"1800000001\"}", ERROR_BAD_TOKEN},
        {"{\"exp\":null}", ERROR_BAD_TOKEN},
        {"{\"exp\":true}", ERROR_BAD_TOKEN},
        {"{\"exp\":[1800000001]}", ERROR_BAD_TOKEN},
        {"{\"exp\":1,\"exp\":1800000001}", ERROR_BAD_TOKEN},
        {"{\"exp\":1,\"\\u0065xp\":1800000001}", ERROR_BAD_TOKEN},
        {"{\"nbf\":1800000030}", ERROR_NONE},
        {"{\"nbf\":1800000031}", ERROR_TOKEN_NOT_YET},
        {"{\"nbf\":\"0\"}", ERROR_BAD_TOKEN},
        {"{\"iat\":1800000030}", ERROR_NONE},
        {"{\"iat\":1800000031}", ERROR_TOKEN_NOT_YET},
        {"{\"iat\":\"0\"}", ERROR_BAD_TOKEN},
        {"{\"sub\":7}", ERROR_BAD_TOKEN},
        {"{\"sub\":\"a\\u0000b\"}", ERROR_BAD_TOKEN},
        {"{\"sub\":\"a\\r\\nb\"}", ERROR_BAD_TOKEN},
        {"{\"jti\":\"\\u007f\"}", ERROR_BAD_TOKEN},
        {"{\"jti\":{}}", ERROR_BAD_TOKEN},
        {"{\"aud\":\"me\"}", ERROR_WRONG_AUDIENCE},
        {"{\"aud\":[]}", ERROR_WRONG_AUDIENCE},
        {"{\"aud\":7}", ERROR_BAD_TOKEN},
        {"{\"aud\":[[\"me\"]]}", ERROR_BAD_TOKEN},
        {"{\"iss\":7}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{}}", ERROR_NONE},
        {"{\"sluice\":[]}", ERROR_BAD_TOKEN},
        {"{\"sluice\":true}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[]}}", ERROR_NONE},
        {"{\"sluice\":{\"subscribe\":\"news\"}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[7]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[[\"news\"]]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":{\"news\":true}}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[\"\"]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[\"a/../b\"]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[\"**/a\"]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[\"news\\u0000\"]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscribe\":[\"a\"],\"subscribe\":[\"**\"]}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"admin\":1}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"admin\":\"true\"}}", ERROR_BAD_TOKEN},
        {"{\"sluice\":{\"subscibe\":[\"a\"]}}", ERROR_BAD_TOKEN}, /* a slip, or a limit that we do not know */
        {"{\"sluice\":{},\"sluice\":{\"admin\":true}}", ERROR_BAD_TOKEN},
        {"[]", ERROR_BAD_TOKEN},
        {"7", ERROR_BAD_TOKEN},
        {"{\"a\":1", ERROR_BAD_TOKEN},
        {"\xff", ERROR_BAD_TOKEN},
    };
    struct world world;
    (void)state;
    world_init(&world);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        expect(&world, auth_sign(HS256_HEADER, rows[i].claims), rows[i].error);
    world_deinit(&world);
}

static void test_token_is_for_its_audience_and_from_its_issuer(void **state)
{
    static const struct {
        const char *claims;
        enum error_code error;
    } rows[] = {
        {"{\"aud\":\"push\",\"iss\":\"shop\"}", ERROR_NONE},
        {"{\"aud\":[\"x\",\"pus\\u0068\"],\"iss\":\"sho\\u0070\"}", ERROR_NONE},
        {"{\"aud\":\"Push\",\"iss\":\"shop\"}", ERROR_WRONG_AUDIENCE},
        {"{\"aud\":[\"x\",\"y\"],\"iss\":\"shop\"}", ERROR_WRONG_AUDIENCE},
        {"{\"iss\":\"shop\"}", ERROR_WRONG_AUDIENCE},
        {"{\"aud\":\"push\"}", ERROR_WRONG_ISSUER},
        {"{\"aud\":\"push\",\"iss\":\"shop/\"}", ERROR_WRONG_ISSUER},
        {"{\"aud\":\"push\",\"iss\":[\"shop\"]}", ERROR_BAD_TOKEN},
    };
    struct world world;
    (void)state;
    world_init(&world);
    auth_option(world.options, "jwt-audience", "other");
    auth_option(world.options, "jwt-audience", "push");
    auth_option(world.options, "jwt-issuer", "shop");
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        expect(&world, auth_sign(HS256_HEADER, rows[i].claims), rows[i].error);
    world_deinit(&world);
}

/* A copy of the token with the bytes from `at` on replaced. */
static const char *token_with(const char *token, const char *part, const char *replacement)
{
    static char changed[AUTH_TOKEN_MAX];
    const char *at = strstr(token, part);
    assert_non_null(at);
    snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - token), token, replacement, at + strlen(part));
    return changed;
}

static void test_token_form_is_strict(void **state)
{
    struct world world;
    char good[512];
    char changed[600];
    (void)state;
    world_init(&world);
    strcpy(good, auth_sign(HS256_HEADER, "{\"sub\":\"a\"}"));
    expect(&world, good, ERROR_NONE);
    const char *signature = strrchr(good, '.') + 1;
    static const char *const behind[] = {"=", "==", " ", "\n", ".", ".e30", "A", "AA"};
    for (size_t i = 0; i < ARRAY_LENGTH(behind); i++) {
        snprintf(changed, sizeof(changed), "%s%s", good, behind[i]);
        expect(&world, changed,
               i < 6                    ? ERROR_BAD_TOKEN
               : strlen(behind[i]) == 1 ? ERROR_BAD_SIGNATURE
                                        : ERROR_BAD_TOKEN);
    }
    snprintf(changed, sizeof(changed), " %s", good);
    expect(&world, changed, ERROR_BAD_TOKEN);
    /* A signature of no byte, of fewer, of other ones. */
    expect(&world, token_with(good, signature, ""), ERROR_BAD_TOKEN);
    expect(&world, token_with(good, signature, "AAAA"), ERROR_BAD_SIGNATURE);
    expect(&world, token_with(good, signature, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
           ERROR_BAD_SIGNATURE);
    for (size_t len = 1; len < strlen(good); len++) {
        struct grant *grant;
        assert_int_not_equal(world_verify(&world, (struct text){good, len}, &grant), ERROR_NONE);
    }
    /* 43 characters hold 258 bits: of the last one two count for nothing, and must be zero. */
    strcpy(changed, good);
    char *last = changed + strlen(changed) - 1;
    *last = *last == 'A' ? 'B' : (char)(*last + 1);
    expect(&world, changed, ERROR_BAD_TOKEN);
    /* A byte that is none of the alphabet, anywhere. */
    for (size_t at = 0; at < strlen(good); at++) {
        if (good[at] == '.')
            continue;
        strcpy(changed, good);
        changed[at] = (char)(changed[at] | 0x80);
        expect(&world, changed, ERROR_BAD_TOKEN);
    }
    static const char *const forms[] = {"",     ".",   "..",       "...",      "a.b.c.d",     "e30.e30.",
                                        "e30.", "e30", ".e30.e30", "e30..e30", "e30.e30.e30", "a b.c.d"};
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
        struct grant *grant;
        assert_int_not_equal(world_verify(&world, text_of(forms[i]), &grant), ERROR_NONE);
    }
    world_deinit(&world);
}

static void test_token_of_too_many_bytes_is_refused_before_it_is_decoded(void **state)
{
    struct world world;
    char claims[TOKEN_MAX];
    (void)state;
    world_init(&world);
    size_t overhead = strlen(auth_sign(HS256_HEADER, ""));
    for (size_t len = (TOKEN_MAX - overhead) / 4 * 3 - 2; len < TOKEN_MAX - overhead; len++) {
        snprintf(claims, sizeof(claims), "{\"a\":\"%0*d\"}", (int)len - 8, 0);
        char *token = auth_sign(HS256_HEADER, claims);
        expect(&world, token, strlen(token) <= TOKEN_MAX ? ERROR_NONE : ERROR_BAD_TOKEN);
        if (strlen(token) > TOKEN_MAX + 8)
            break;
    }
    world_deinit(&world);
}

static void test_token_patterns_are_bounded(void **state)
{
    struct world world;
    char claims[4096];
    (void)state;
    world_init(&world);
    for (size_t count = 256; count <= 257; count++) {
        char *at = claims + sprintf(claims, "{\"sluice\":{\"publish\":[");
        for (size_t i = 0; i < count; i++)
            at += sprintf(at, "%s\"a/%zu\"", i > 0 ? "," : "", i);
        strcpy(at, "]}}");
        expect(&world, auth_sign(HS256_HEADER, claims), count == 256 ? ERROR_NONE : ERROR_BAD_TOKEN);
    }
    world_deinit(&world);
}

static void test_token_keys_are_chosen_by_id(void **state)
{
    static const char other[] = "another secret of more than thirty-two bytes, for the second key";
    struct world world;
    (void)state;
    world_init(&world);
    auth_keys_unref(world.keys);
    auth_write_text("other", other);
    auth_option_file(world.options, "jwt-key", "HS256/two:%s", "other");
    world_load(&world);
    const size_t len = strlen(other);
    expect(&world, auth_sign_hs(EVP_sha256(), other, len, HS256_HEADER, "{}"),
           ERROR_NONE); /* each is tried */
    expect(&world, auth_sign_hs(EVP_sha256(), other, len, "{\"alg\":\"HS256\",\"kid\":\"two\"}", "{}"),
           ERROR_NONE);
    expect(&world, auth_sign_hs(EVP_sha256(), other, len, "{\"alg\":\"HS256\",\"kid\":\"one\"}", "{}"),
           ERROR_BAD_SIGNATURE);
    expect(&world, auth_sign_hs(EVP_sha256(), other, len, "{\"alg\":\"HS256\",\"kid\":\"\"}", "{}"),
           ERROR_BAD_SIGNATURE);
    expect(&world, auth_sign_hs(EVP_sha256(), other, len, "{\"alg\":\"HS256\",\"kid\":\"two\\u0000\"}", "{}"),
           ERROR_BAD_SIGNATURE);
    expect(&world, auth_sign("{\"alg\":\"HS256\",\"kid\":\"two\"}", "{}"),
           ERROR_NONE); /* by the one without an id */
    world_deinit(&world);
}

static void test_token_tries_a_bounded_number_of_keys(void **state)
{
    struct world world = {.options = options_new()};
    char name[16];
    char secret[48];
    (void)state;
    for (unsigned i = 0; i < TOKEN_KEYS_TRIED_MAX + 1; i++) {
        snprintf(name, sizeof(name), "key%u", i);
        snprintf(secret, sizeof(secret), "a secret of more than thirty-two bytes: %u", i);
        auth_write_text(name, secret);
        auth_option_file(world.options, "jwt-key", "HS256:%s", name);
    }
    world_load(&world);
    for (unsigned i = 0; i < TOKEN_KEYS_TRIED_MAX + 1; i++) {
        snprintf(secret, sizeof(secret), "a secret of more than thirty-two bytes: %u", i);
        expect(&world, auth_sign_hs(EVP_sha256(), secret, strlen(secret), HS256_HEADER, "{}"),
               i < TOKEN_KEYS_TRIED_MAX ? ERROR_NONE : ERROR_BAD_SIGNATURE);
    }
    world_deinit(&world);
}

/* Every algorithm signs, is verified with its own key, and with no other one that could be taken for it. */
static void test_token_every_algorithm_verifies_only_its_own(void **state)
{
    struct world world = {.options = options_new()};
    char fault[VERIFIER_FAULT_MAX];
    char file[32];
    char format[32];
    char tokens[ALGORITHM_COUNT][1024];
    (void)state;
    auth_write_text("secret", AUTH_SECRET);
    auth_write_pair("rsa", EVP_RSA_gen(2048));
    auth_write_pair("ec0", EVP_EC_gen("P-256"));
    auth_write_pair("ec1", EVP_EC_gen("P-384"));
    auth_write_pair("ec2", EVP_EC_gen("P-521"));
    for (enum algorithm i = 0; i < ALGORITHM_COUNT; i++) {
        char *token;
        bool is_secret = algorithms[i].key_kind == CJOSE_JWK_KTY_OCT;
        const char *pair = algorithms[i].key_kind == CJOSE_JWK_KTY_RSA ? "rsa"
                           : i == ALGORITHM_ES256                      ? "ec0"
                           : i == ALGORITHM_ES384                      ? "ec1"
                                                                       : "ec2";
        snprintf(file, sizeof(file), is_secret ? "secret" : "%s-private.pem", pair);
        int err = token_sign(&token, i, (struct text){0}, text_of(auth_read(file)),
                             text_of("{\"sub\":\"x\"}"), fault);
        if (err)
            fail_msg("%s: %s", algorithms[i].name, fault);
        snprintf(tokens[i], sizeof(tokens[i]), "%s", token);
        free(token);
        snprintf(file, sizeof(file), is_secret ? "secret" : "%s.pem", pair);
        snprintf(format, sizeof(format), "%s:%%s", algorithms[i].name);
        /* One key at a time: all the others' tokens are not for it. */
        option_clear(world.options, option_find("jwt-key", 7));
        auth_option_file(world.options, "jwt-key", format, file);
        world_load(&world);
        expect(&world, tokens[i], ERROR_NONE);
        for (enum algorithm j = 0; j < i; j++)
            expect(&world, tokens[j], ERROR_BAD_SIGNATURE);
        tokens[i][strlen(tokens[i]) / 2] ^= 1;
        struct grant *grant;
        assert_int_not_equal(world_verify(&world, text_of(tokens[i]), &grant), ERROR_NONE);
        tokens[i][strlen(tokens[i]) / 2] ^= 1;
        auth_keys_unref(world.keys);
    }
    options_unref(world.options);
}

/* Who knows the public key, as everybody does, signs with it as if it were a secret. */
static void test_token_a_public_key_is_no_secret(void **state)
{
    struct world world = {.options = options_new()};
    (void)state;
    auth_write_pair("confused", EVP_RSA_gen(2048));
    auth_option_file(world.options, "jwt-key", "RS256:%s", "confused.pem");
    world_load(&world);
    const char *pem = auth_read("confused.pem");
    expect(&world, auth_sign_hs(EVP_sha256(), pem, strlen(pem), HS256_HEADER, "{}"), ERROR_BAD_SIGNATURE);
    expect(&world, auth_sign_hs(EVP_sha256(), pem, strlen(pem), "{\"alg\":\"RS256\"}", "{}"),
           ERROR_BAD_SIGNATURE);
    expect(&world, auth_sign_hs(EVP_sha256(), "", 0, HS256_HEADER, "{}"), ERROR_BAD_SIGNATURE);
    world_deinit(&world);
}

static void test_publisher_key_grants_publishing(void **state)
{
    struct world world = {.options = options_new()};
    char key[PUBLISHER_KEY_MAX + 1];
    char line[PUBLISHER_LINE_MAX + 1];
    char file[1024];
    char wrong[PUBLISHER_KEY_MAX + 2];
    struct grant *grant;
    (void)state;
    publisher_make(text_of("shop"), key, line);
    snprintf(file, sizeof(file), "# keys\n\n%s\r\n", line);
    auth_write_text("publishers", file);
    auth_option_file(world.options, "publish-keys", "%s", "publishers");
    world_load(&world);
    assert_true(auth_keys_are_there(world.keys));
    assert_int_equal(world_verify(&world, text_of(key), &grant), ERROR_NONE);
    assert_true(grant->is_key);
    assert_false(grant->is_admin);
    assert_string_equal(grant->subject, "shop");
    assert_int_equal(grant->expires_ms, INT64_MAX);
    assert_true(auth_keys_hold(world.keys, grant));
    /* Another key of the same name, after a reload. */
    publisher_make(text_of("shop"), wrong, line);
    expect(&world, wrong, ERROR_BAD_SIGNATURE);
    auth_write_text("publishers", line);
    auth_keys_unref(world.keys);
    world_load(&world);
    assert_false(auth_keys_hold(world.keys, grant));
    grant_unref(grant);
    expect(&world, key, ERROR_BAD_SIGNATURE);
    expect(&world, wrong, ERROR_NONE);
    snprintf(file, sizeof(file), "%sA", wrong);
    expect(&world, file, ERROR_BAD_SIGNATURE);
    wrong[strlen(wrong) - 1] = '\0';
    expect(&world, wrong, ERROR_BAD_SIGNATURE);
    expect(&world, "shop.", ERROR_BAD_SIGNATURE);
    expect(&world, "shopper.x", ERROR_BAD_SIGNATURE);
    expect(&world, line, ERROR_BAD_TOKEN);
    world_deinit(&world);
}

static void test_revoked_tokens_are_refused(void **state)
{
    struct world world;
    struct revoked *revoked = revoked_new();
    char fault[AUTH_FAULT_MAX];
    struct grant *grant;
    (void)state;
    world_init(&world);
    const struct revocation by_id = {REVOCATION_TOKEN, text_of("t1"), NOW_MS, NOW_MS + 1000};
    const struct revocation by_subject = {REVOCATION_SUBJECT, text_of("anna"), NOW_MS, NOW_MS + 1000};
    assert_int_equal(revoked_add(revoked, &by_id, NOW_MS), 0);
    assert_int_equal(revoked_add(revoked, &by_subject, NOW_MS), 0);
    static const struct {
        const char *claims;
        enum error_code error;
    } rows[] = {
        {"{\"jti\":\"t1\"}", ERROR_TOKEN_REVOKED},
        {"{\"jti\":\"t2\"}", ERROR_NONE},
        {"{\"sub\":\"t1\"}", ERROR_NONE},
        {"{\"sub\":\"anna\",\"iat\":1800000000}", ERROR_TOKEN_REVOKED},
        {"{\"sub\":\"anna\"}", ERROR_TOKEN_REVOKED},
        {"{\"sub\":\"anna\",\"iat\":1800000001}", ERROR_NONE},
        {"{\"sub\":\"hannah\"}", ERROR_NONE},
        {"{}", ERROR_NONE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char *token = auth_sign(HS256_HEADER, rows[i].claims);
        assert_int_equal(
            token_verify(&grant, world.keys, world.options, revoked, text_of(token), NOW_MS, fault),
            rows[i].error);
        grant_unref(grant);
    }
    revoked_free(revoked);
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_grants_what_it_claims),
        cmocka_unit_test(test_token_without_claims_grants_nothing),
        cmocka_unit_test(test_token_header_is_judged),
        cmocka_unit_test(test_token_claims_are_judged),
        cmocka_unit_test(test_token_is_for_its_audience_and_from_its_issuer),
        cmocka_unit_test(test_token_form_is_strict),
        cmocka_unit_test(test_token_of_too_many_bytes_is_refused_before_it_is_decoded),
        cmocka_unit_test(test_token_patterns_are_bounded),
        cmocka_unit_test(test_token_keys_are_chosen_by_id),
        cmocka_unit_test(test_token_tries_a_bounded_number_of_keys),
        cmocka_unit_test(test_token_every_algorithm_verifies_only_its_own),
        cmocka_unit_test(test_token_a_public_key_is_no_secret),
        cmocka_unit_test(test_publisher_key_grants_publishing),
        cmocka_unit_test(test_revoked_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, auth_set_up, auth_tear_down);
}
