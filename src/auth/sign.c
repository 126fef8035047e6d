/* SPDX-License-Identifier: MIT */
#include "auth/sign.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/pem.h"

static cjose_jwk_t *sign_read_key(enum algorithm algorithm, struct text file, char *fault)
{
    struct text secret;
    if (algorithms[algorithm].key_kind != CJOSE_JWK_KTY_OCT)
        return pem_read_private(file, algorithm, fault);
    return verifier_read_secret(&secret, algorithm, file, fault)
               ? NULL
               : cjose_jwk_create_oct_spec((const uint8_t *)secret.bytes, secret.len, NULL);
}

static cjose_header_t *sign_make_header(enum algorithm algorithm, struct text kid)
{
    char terminated[VERIFIER_KID_MAX + 1];
    cjose_header_t *header = cjose_header_new(NULL);
    bool is_made = header && cjose_header_set(header, CJOSE_HDR_ALG, algorithms[algorithm].name, NULL) &&
                   cjose_header_set(header, "typ", "JWT", NULL);
    snprintf(terminated, sizeof(terminated), "%.*s", (int)kid.len, kid.len > 0 ? kid.bytes : "");
    if (is_made && kid.len > 0)
        is_made = cjose_header_set(header, CJOSE_HDR_KID, terminated, NULL);
    if (is_made)
        return header;
    cjose_header_release(header);
    return NULL;
}

int token_sign(char **token, enum algorithm algorithm, struct text kid, struct text file, struct text claims,
               char fault[VERIFIER_FAULT_MAX])
{
    snprintf(fault, VERIFIER_FAULT_MAX, "cannot be used for signing");
    cjose_jwk_t *jwk = sign_read_key(algorithm, file, fault);
    cjose_header_t *header = jwk ? sign_make_header(algorithm, kid) : NULL;
    cjose_jws_t *jws =
        header ? cjose_jws_sign(jwk, header, (const uint8_t *)claims.bytes, claims.len, NULL) : NULL;
    const char *compact = NULL;
    *token = jws && cjose_jws_export(jws, &compact, NULL) ? strdup(compact) : NULL;
    cjose_jws_release(jws);
    cjose_header_release(header);
    cjose_jwk_release(jwk);
    ERR_clear_error();
    if (*token)
        return 0;
    return compact ? -ENOMEM : -EINVAL;
}
