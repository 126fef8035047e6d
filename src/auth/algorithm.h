/* SPDX-License-Identifier: MIT */
#pragma once

/* The signature algorithms of RFC 7518, section 3.1, one row each; `none` is not among them. Pure; any
 * thread. */

#include <cjose/cjose.h>
#include <stddef.h>

#include "base/text.h"

/* Row: NAME, kind of key, bytes of the hash, curve or 0, bytes of a signature or 0 for as many as the RSA
 * modulus has */
#define ALGORITHM_TABLE(ROW)                                                                                 \
    ROW(HS256, CJOSE_JWK_KTY_OCT, 32, 0, 32)                                                                 \
    ROW(HS384, CJOSE_JWK_KTY_OCT, 48, 0, 48)                                                                 \
    ROW(HS512, CJOSE_JWK_KTY_OCT, 64, 0, 64)                                                                 \
    ROW(RS256, CJOSE_JWK_KTY_RSA, 32, 0, 0)                                                                  \
    ROW(RS384, CJOSE_JWK_KTY_RSA, 48, 0, 0)                                                                  \
    ROW(RS512, CJOSE_JWK_KTY_RSA, 64, 0, 0)                                                                  \
    ROW(PS256, CJOSE_JWK_KTY_RSA, 32, 0, 0)                                                                  \
    ROW(PS384, CJOSE_JWK_KTY_RSA, 48, 0, 0)                                                                  \
    ROW(PS512, CJOSE_JWK_KTY_RSA, 64, 0, 0)                                                                  \
    ROW(ES256, CJOSE_JWK_KTY_EC, 32, CJOSE_JWK_EC_P_256, 64)                                                 \
    ROW(ES384, CJOSE_JWK_KTY_EC, 48, CJOSE_JWK_EC_P_384, 96)                                                 \
    ROW(ES512, CJOSE_JWK_KTY_EC, 64, CJOSE_JWK_EC_P_521, 132)

enum algorithm {
#define ALGORITHM_ENUM(name, ...) ALGORITHM_##name,
    ALGORITHM_TABLE(ALGORITHM_ENUM)
#undef ALGORITHM_ENUM
        ALGORITHM_COUNT
};

struct algorithm_facts {
    const char *name;
    cjose_jwk_kty_t key_kind;
    unsigned hash_bytes;
    int curve; /* an enum value of cjose_jwk_ec_curve, which is OpenSSL's number of the curve */
    unsigned signature_bytes;
};

extern const struct algorithm_facts algorithms[ALGORITHM_COUNT];

/* "HS256, HS384, ... and ES512". */
extern const char algorithm_names[];

/* The algorithm of that name, ALGORITHM_COUNT when there is none. */
enum algorithm algorithm_find(struct text name);
