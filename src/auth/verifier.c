/* SPDX-License-Identifier: MIT */
#include "auth/verifier.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <sodium.h>
#include <stdlib.h>

#include "auth/fault.h"
#include "auth/pem.h"
#include "base/base64.h"
#include "base/json_object.h"

static_assert(PEM_FAULT_MAX <= VERIFIER_FAULT_MAX, "a fault of PEM fits");
static_assert(JSON_OBJECT_FAULT_MAX <= VERIFIER_FAULT_MAX, "a fault of JSON fits");

int verifier_declaration_parse(struct verifier_declaration *declaration, struct text text,
                               char fault[VERIFIER_FAULT_MAX])
{
    const char *colon = memchr(text.bytes, ':', text.len);
    if (!colon)
        return auth_fail(fault, VERIFIER_FAULT_MAX,
                         "must be ALG:FILE or ALG/KID:FILE, as HS256:/etc/sluice/key");
    struct text name = {text.bytes, (size_t)(colon - text.bytes)};
    *declaration = (struct verifier_declaration){.path = text_behind(text, name.len + 1)};
    const char *slash = memchr(name.bytes, '/', name.len);
    if (slash) {
        declaration->kid = text_behind(name, (size_t)(slash - name.bytes) + 1);
        name.len = (size_t)(slash - name.bytes);
    }
    declaration->algorithm = algorithm_find(name);
    if (declaration->algorithm == ALGORITHM_COUNT)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "names no algorithm; there are %s", algorithm_names);
    if (slash && (declaration->kid.len == 0 || declaration->kid.len > VERIFIER_KID_MAX))
        return auth_fail(fault, VERIFIER_FAULT_MAX,
                         "has a key id between / and : that must have 1 to %u bytes", VERIFIER_KID_MAX);
    if (declaration->path.len == 0)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "names no file behind the colon");
    return 0;
}

static bool verifier_is_line(struct text file)
{
    for (size_t i = 0; i < file.len; i++)
        if ((unsigned char)file.bytes[i] < 0x20 || (unsigned char)file.bytes[i] > 0x7e)
            return false;
    return true;
}

/* An editor or echo ends a text with the end of a line, which nobody means; bytes at random are left as they
 * are. */
static struct text verifier_cut_line_end(struct text file)
{
    struct text line = file;
    line.len -= text_ends(line, "\n");
    line.len -= line.len < file.len && text_ends(line, "\r");
    return verifier_is_line(line) ? line : file;
}

int verifier_read_secret(struct text *secret, enum algorithm algorithm, struct text file,
                         char fault[VERIFIER_FAULT_MAX])
{
    const struct algorithm_facts *facts = &algorithms[algorithm];
    *secret = verifier_cut_line_end(file);
    if (secret->len == 0)
        return auth_fail(fault, VERIFIER_FAULT_MAX,
                         "is empty; %s wants a secret of at least %u bytes at random", facts->name,
                         facts->hash_bytes);
    if (pem_is_key(*secret) || text_contains(*secret, "\"kty\""))
        return auth_fail(fault, VERIFIER_FAULT_MAX,
                         "holds a key of another kind; %s wants a secret that nobody else knows",
                         facts->name);
    if (secret->len < facts->hash_bytes)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "holds a secret of %zu bytes; %s wants at least %u",
                         secret->len, facts->name, facts->hash_bytes);
    return 0;
}

/* Takes the JWK. */
static int verifier_set(struct verifier *verifier, enum algorithm algorithm, struct text kid,
                        cjose_jwk_t *jwk)
{
    const struct algorithm_facts *facts = &algorithms[algorithm];
    char *kid_copy = kid.bytes ? strndup(kid.bytes, kid.len) : NULL;
    char *json = cjose_jwk_to_json(jwk, facts->key_kind == CJOSE_JWK_KTY_OCT, NULL);
    *verifier = (struct verifier){.algorithm = algorithm,
                                  .kid = {kid_copy, kid.len},
                                  .jwk = jwk,
                                  .signature_bytes = facts->signature_bytes};
    if (!json || (kid.bytes && !kid_copy)) {
        free(json);
        verifier_deinit(verifier);
        return -ENOMEM;
    }
    if (facts->key_kind == CJOSE_JWK_KTY_RSA)
        verifier->signature_bytes = (cjose_jwk_get_keysize(jwk, NULL) + 7) / 8;
    crypto_generichash(verifier->print, sizeof(verifier->print), (const unsigned char *)json, strlen(json),
                       (const unsigned char *)facts->name, strlen(facts->name));
    sodium_memzero(json, strlen(json));
    free(json);
    return 0;
}

int verifier_init(struct verifier *verifier, const struct verifier_declaration *declaration, struct text file,
                  char fault[VERIFIER_FAULT_MAX])
{
    cjose_jwk_t *jwk;
    struct text secret;
    *verifier = (struct verifier){0};
    if (algorithms[declaration->algorithm].key_kind != CJOSE_JWK_KTY_OCT) {
        jwk = pem_read_public(file, declaration->algorithm, fault);
    } else if (verifier_read_secret(&secret, declaration->algorithm, file, fault) == 0) {
        jwk = cjose_jwk_create_oct_spec((const uint8_t *)secret.bytes, secret.len, NULL);
        if (!jwk)
            return -ENOMEM;
    } else {
        jwk = NULL;
    }
    return jwk ? verifier_set(verifier, declaration->algorithm, declaration->kid, jwk) : -EINVAL;
}

/* JWK. */

#define JWK_NUMBER_MAX 8192u /* digits of base64url */
#define JWK_STRINGS 10u

/* The strings first; of them those in base64url last. */
enum jwk_member {
    JWK_KTY,
    JWK_ALG,
    JWK_USE,
    JWK_KID,
    JWK_CRV,
    JWK_N,
    JWK_E,
    JWK_K,
    JWK_X,
    JWK_Y,
    JWK_KEY_OPS,
};

struct jwk_text {
    struct json_object object;
    struct text strings[JWK_STRINGS];
};

/* cjose ends the process at some of what is not base64url. */
static bool jwk_is_number(struct text text)
{
    char bytes[JWK_NUMBER_MAX];
    size_t len;
    return text.len <= JWK_NUMBER_MAX && base64_url_decode(bytes, &len, text.bytes, text.len) == 0;
}

static int jwk_check_strings(const struct jwk_text *jwk, char *fault)
{
    const struct text kid = jwk->strings[JWK_KID];
    if (kid.len > VERIFIER_KID_MAX || (kid.bytes && memchr(kid.bytes, '\0', kid.len)))
        return auth_fail(fault, VERIFIER_FAULT_MAX,
                         "has a kid that must have at most %u bytes, none of them NUL", VERIFIER_KID_MAX);
    for (unsigned i = JWK_N; i <= JWK_Y; i++)
        if (jwk->strings[i].bytes && !jwk_is_number(jwk->strings[i]))
            return auth_fail(fault, VERIFIER_FAULT_MAX,
                             "has a member \"%s\" that is not base64url without padding",
                             jwk->object.names[i]);
    return 0;
}

static int jwk_read(struct jwk_text *jwk, struct text value, char *fault)
{
    static const char *const names[] = {"kty", "alg", "use", "kid", "crv",     "n",
                                        "e",   "k",   "x",   "y",   "key_ops", NULL};
    json_object_read(&jwk->object, value, names);
    if (!jwk->object.is_object)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "must be an object");
    int err = jwk->object.has_failed ? -ENOMEM : 0;
    for (unsigned i = 0; !err && i < JWK_STRINGS; i++)
        err = json_object_string(&jwk->object, i, &jwk->strings[i], fault);
    return err ? err : jwk_check_strings(jwk, fault);
}

/* RFC 7518, sections 6.2.2 and 6.3.2. */
static bool jwk_is_private(struct text value)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", NULL};
    struct json_object object;
    bool is_private = false;
    json_object_read(&object, value, names);
    for (unsigned i = 0; names[i]; i++)
        is_private = is_private || object.values[i].bytes;
    json_object_deinit(&object);
    return is_private;
}

/* Of those that name no algorithm only some have but one: an EC key by its curve. RSA keys come without it
 * from some issuers, who then mean RS256 (OpenID Connect's default). */
static enum algorithm jwk_algorithm(const struct jwk_text *jwk)
{
    static const char *const curves[] = {"P-256", "P-384", "P-521", NULL};
    if (jwk->strings[JWK_ALG].bytes)
        return algorithm_find(jwk->strings[JWK_ALG]);
    if (text_is(jwk->strings[JWK_KTY], "RSA"))
        return ALGORITHM_RS256;
    if (!text_is(jwk->strings[JWK_KTY], "EC"))
        return ALGORITHM_COUNT;
    size_t index = text_index(jwk->strings[JWK_CRV], curves, 3);
    return index < 3 ? (enum algorithm)(ALGORITHM_ES256 + index) : ALGORITHM_COUNT;
}

static bool jwk_is_for_verifying(const struct jwk_text *jwk)
{
    struct text operations = jwk->object.values[JWK_KEY_OPS];
    bool is_for_signatures = !jwk->strings[JWK_USE].bytes || text_is(jwk->strings[JWK_USE], "sig");
    return is_for_signatures && (!operations.bytes || text_contains(operations, "\"verify\""));
}

static int jwk_check_size(const struct jwk_text *text, const cjose_jwk_t *jwk,
                          const struct algorithm_facts *facts, char *fault)
{
    size_t bits = cjose_jwk_get_keysize(jwk, NULL); /* of as many bytes as were given */
    if (facts->key_kind == CJOSE_JWK_KTY_OCT && bits < facts->hash_bytes * 8)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "has a secret of %zu bytes; %s wants at least %u",
                         bits / 8, facts->name, facts->hash_bytes);
    if (facts->key_kind == CJOSE_JWK_KTY_RSA && (bits < PEM_RSA_BITS_MIN || bits > PEM_RSA_BITS_MAX))
        return auth_fail(fault, VERIFIER_FAULT_MAX, "has an RSA modulus of %zu bits; it must have %d to %d",
                         bits, PEM_RSA_BITS_MIN, PEM_RSA_BITS_MAX);
    /* Two digits of base64url hold the first byte, which must not be 0 (RFC 7518, section 6.3.1.1). */
    const char *modulus = text->strings[JWK_N].bytes;
    if (facts->key_kind == CJOSE_JWK_KTY_RSA && modulus[0] == 'A' && modulus[1] >= 'A' && modulus[1] <= 'P')
        return auth_fail(fault, VERIFIER_FAULT_MAX, "has an RSA modulus that begins with a zero byte");
    if (facts->key_kind == CJOSE_JWK_KTY_EC && (int)cjose_jwk_EC_get_curve(jwk, NULL) != facts->curve)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "is of another curve than %s wants", facts->name);
    return 0;
}

static int jwk_make(struct verifier *verifier, const struct jwk_text *text, struct text value, char *fault)
{
    enum algorithm algorithm = jwk_algorithm(text);
    if (!text->strings[JWK_KTY].bytes)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "has no kty");
    if (!jwk_is_for_verifying(text) || (text->strings[JWK_ALG].bytes && algorithm == ALGORITHM_COUNT))
        return -ENOTSUP;
    if (algorithm == ALGORITHM_COUNT)
        return text_is(text->strings[JWK_KTY], "oct")
                   ? auth_fail(fault, VERIFIER_FAULT_MAX, "has no alg, without which a secret is for nothing")
                   : -ENOTSUP;
    if (jwk_is_private(value))
        return auth_fail(fault, VERIFIER_FAULT_MAX, "is a private key; only the public one belongs here");
    const struct algorithm_facts *facts = &algorithms[algorithm];
    cjose_jwk_t *jwk = cjose_jwk_import(value.bytes, value.len, NULL);
    ERR_clear_error();
    if (!jwk)
        return auth_fail(fault, VERIFIER_FAULT_MAX, "has members that make no key");
    int err = cjose_jwk_get_kty(jwk, NULL) == facts->key_kind
                  ? jwk_check_size(text, jwk, facts, fault)
                  : auth_fail(fault, VERIFIER_FAULT_MAX, "has a kty that is not the one of %s", facts->name);
    if (err) {
        cjose_jwk_release(jwk);
        return err;
    }
    return verifier_set(verifier, algorithm, text->strings[JWK_KID], jwk);
}

int verifier_init_jwk(struct verifier *verifier, struct text jwk, char fault[VERIFIER_FAULT_MAX])
{
    struct jwk_text text = {0};
    *verifier = (struct verifier){0};
    int err = jwk_read(&text, jwk, fault);
    if (!err)
        err = jwk_make(verifier, &text, jwk, fault);
    json_object_deinit(&text.object);
    return err;
}

void verifier_deinit(struct verifier *verifier)
{
    cjose_jwk_release(verifier->jwk);
    free((char *)(uintptr_t)verifier->kid.bytes);
    *verifier = (struct verifier){0};
}
