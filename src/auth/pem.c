/* SPDX-License-Identifier: MIT */
#include "auth/pem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define PEM_NUMBER_MAX (PEM_RSA_BITS_MAX / 8)
#define PEM_BEGIN "-----BEGIN "

/* A number of a key, as bytes. */
struct pem_number {
    unsigned char bytes[PEM_NUMBER_MAX];
    size_t len;
};

static bool pem_get_number(struct pem_number *number, const EVP_PKEY *key, const char *name)
{
    BIGNUM *big = NULL;
    number->len = 0;
    if (EVP_PKEY_get_bn_param(key, name, &big) == 1 && BN_num_bytes(big) <= PEM_NUMBER_MAX)
        number->len = (size_t)BN_bn2bin(big, number->bytes);
    BN_clear_free(big);
    return number->len > 0;
}

/* Nobody is asked for a password: an encrypted key cannot be read. */
static int pem_refuse_password(char *to, int size, int is_writing, void *context)
{
    (void)to;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

static EVP_PKEY *pem_decode(struct text pem, int selection)
{
    EVP_PKEY *key = NULL;
    const unsigned char *at = (const unsigned char *)pem.bytes;
    size_t len = pem.len;
    OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(&key, "PEM", NULL, NULL, selection, NULL, NULL);
    if (!decoder)
        return NULL;
    OSSL_DECODER_CTX_set_pem_password_cb(decoder, pem_refuse_password, NULL);
    if (OSSL_DECODER_from_data(decoder, &at, &len) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    OSSL_DECODER_CTX_free(decoder);
    return key;
}

static EVP_PKEY *pem_decode_certificate(struct text pem)
{
    BIO *bio = BIO_new_mem_buf(pem.bytes, (int)pem.len);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, pem_refuse_password, NULL) : NULL;
    EVP_PKEY *key = certificate ? X509_get_pubkey(certificate) : NULL;
    X509_free(certificate);
    BIO_free(bio);
    return key;
}

static cjose_jwk_t *pem_make_rsa(const EVP_PKEY *key, bool is_private, char *fault)
{
    static const char *const names[] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    };
    struct pem_number numbers[8];
    cjose_jwk_t *jwk = NULL;
    int bits = EVP_PKEY_get_bits(key);
    bool is_whole = bits >= PEM_RSA_BITS_MIN && bits <= PEM_RSA_BITS_MAX;
    if (!is_whole)
        snprintf(fault, PEM_FAULT_MAX, "holds an RSA key of %d bits; it must have %d to %d", bits,
                 PEM_RSA_BITS_MIN, PEM_RSA_BITS_MAX);
    for (size_t i = 0; is_whole && i < (is_private ? 8u : 2u); i++) {
        is_whole = pem_get_number(&numbers[i], key, names[i]);
        if (!is_whole)
            snprintf(fault, PEM_FAULT_MAX, "holds an RSA key without %s", names[i]);
    }
    if (is_whole) {
        cjose_jwk_rsa_keyspec spec = {
            .n = numbers[0].bytes, .nlen = numbers[0].len, .e = numbers[1].bytes, .elen = numbers[1].len};
        if (is_private) {
            spec.d = numbers[2].bytes, spec.dlen = numbers[2].len;
            spec.p = numbers[3].bytes, spec.plen = numbers[3].len;
            spec.q = numbers[4].bytes, spec.qlen = numbers[4].len;
            spec.dp = numbers[5].bytes, spec.dplen = numbers[5].len;
            spec.dq = numbers[6].bytes, spec.dqlen = numbers[6].len;
            spec.qi = numbers[7].bytes, spec.qilen = numbers[7].len;
        }
        jwk = cjose_jwk_create_RSA_spec(&spec, NULL);
        if (!jwk)
            snprintf(fault, PEM_FAULT_MAX, "holds an RSA key that cannot be used");
    }
    OPENSSL_cleanse(numbers, sizeof(numbers));
    return jwk;
}

static cjose_jwk_t *pem_make_ec(const EVP_PKEY *key, const struct algorithm_facts *facts, bool is_private,
                                char *fault)
{
    struct pem_number x;
    struct pem_number y;
    struct pem_number d = {.len = 0};
    char group[64] = "";
    size_t group_len;
    cjose_jwk_t *jwk = NULL;
    if (EVP_PKEY_get_group_name(key, group, sizeof(group), &group_len) != 1 ||
        OBJ_txt2nid(group) != facts->curve) {
        snprintf(fault, PEM_FAULT_MAX, "holds a key of the curve %s; %s wants one of %s",
                 group[0] ? group : "without a name", facts->name, OBJ_nid2sn(facts->curve));
        return NULL;
    }
    if (pem_get_number(&x, key, OSSL_PKEY_PARAM_EC_PUB_X) &&
        pem_get_number(&y, key, OSSL_PKEY_PARAM_EC_PUB_Y) &&
        (!is_private || pem_get_number(&d, key, OSSL_PKEY_PARAM_PRIV_KEY))) {
        const cjose_jwk_ec_keyspec spec = {.crv = (cjose_jwk_ec_curve)facts->curve,
                                           .x = x.bytes,
                                           .xlen = x.len,
                                           .y = y.bytes,
                                           .ylen = y.len,
                                           .d = is_private ? d.bytes : NULL,
                                           .dlen = d.len};
        jwk = cjose_jwk_create_EC_spec(&spec, NULL);
    }
    if (!jwk)
        snprintf(fault, PEM_FAULT_MAX, "holds a key that cannot be used");
    OPENSSL_cleanse(&d, sizeof(d));
    return jwk;
}

static cjose_jwk_t *pem_make(const EVP_PKEY *key, enum algorithm algorithm, bool is_private, char *fault)
{
    const struct algorithm_facts *facts = &algorithms[algorithm];
    const char *kind = facts->key_kind == CJOSE_JWK_KTY_RSA ? "RSA" : "EC";
    if (!EVP_PKEY_is_a(key, kind)) {
        snprintf(fault, PEM_FAULT_MAX, "holds a key that is not %s, which %s wants", kind, facts->name);
        return NULL;
    }
    return facts->key_kind == CJOSE_JWK_KTY_RSA ? pem_make_rsa(key, is_private, fault)
                                                : pem_make_ec(key, facts, is_private, fault);
}

bool pem_is_key(struct text bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.bytes;
    if (text_contains(bytes, PEM_BEGIN))
        return true;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)bytes.len);
    ERR_clear_error();
    EVP_PKEY_free(key);
    return key != NULL;
}

/* Which of several keys would count is for nobody to guess. */
static bool pem_has_several(struct text pem)
{
    const char *first = memmem(pem.bytes, pem.len, PEM_BEGIN, strlen(PEM_BEGIN));
    const char *behind = first ? first + strlen(PEM_BEGIN) : pem.bytes;
    return first && memmem(behind, pem.len - (size_t)(behind - pem.bytes), PEM_BEGIN, strlen(PEM_BEGIN));
}

cjose_jwk_t *pem_read_public(struct text pem, enum algorithm algorithm, char fault[PEM_FAULT_MAX])
{
    if (text_contains(pem, "PRIVATE KEY-----")) {
        snprintf(fault, PEM_FAULT_MAX, "holds a private key; only the public one belongs here");
        return NULL;
    }
    if (pem_has_several(pem)) {
        snprintf(fault, PEM_FAULT_MAX, "holds more than one key; give each a file, or all in a JWKS file");
        return NULL;
    }
    EVP_PKEY *key = text_contains(pem, "BEGIN CERTIFICATE") ? pem_decode_certificate(pem)
                                                            : pem_decode(pem, EVP_PKEY_PUBLIC_KEY);
    cjose_jwk_t *jwk = NULL;
    if (key)
        jwk = pem_make(key, algorithm, false, fault);
    else
        snprintf(fault, PEM_FAULT_MAX, "does not hold a public key in PEM");
    EVP_PKEY_free(key);
    ERR_clear_error();
    return jwk;
}

cjose_jwk_t *pem_read_private(struct text pem, enum algorithm algorithm, char fault[PEM_FAULT_MAX])
{
    EVP_PKEY *key = pem_decode(pem, EVP_PKEY_KEYPAIR);
    cjose_jwk_t *jwk = NULL;
    if (key)
        jwk = pem_make(key, algorithm, true, fault);
    else
        snprintf(fault, PEM_FAULT_MAX, "does not hold a private key in PEM without a password");
    EVP_PKEY_free(key);
    ERR_clear_error();
    return jwk;
}
