/* SPDX-License-Identifier: MIT */
#pragma once

/* A key that signatures are verified with, and the one algorithm that it is for. Immutable once made; any
 * thread. */

#include "auth/algorithm.h"
#include "base/text.h"

#define VERIFIER_FAULT_MAX 512u
#define VERIFIER_KID_MAX 255u
#define VERIFIER_PRINT_BYTES 16u

struct verifier {
    enum algorithm algorithm;
    struct text kid; /* without bytes when it has none; owned */
    cjose_jwk_t *jwk;
    size_t signature_bytes;
    unsigned char print[VERIFIER_PRINT_BYTES]; /* of algorithm and key: tells it from others over a reload */
};

/* What `jwt-key` declares: ALG[/KID]:FILE. Borrows the text. */
struct verifier_declaration {
    enum algorithm algorithm;
    struct text kid;
    struct text path;
};

/* Returns 0, or -EINVAL with `fault` the end of a sentence that begins with the declaration. */
int verifier_declaration_parse(struct verifier_declaration *declaration, struct text text,
                               char fault[VERIFIER_FAULT_MAX]);

/* Makes the key of what its file holds: the bytes of a secret for HS* (the end of the line of a text is none
 * of them), a public key or a certificate in PEM for all others. Returns 0, -ENOMEM or -EINVAL, with `fault`
 * the end of a sentence that begins with the file. */
int verifier_init(struct verifier *verifier, const struct verifier_declaration *declaration, struct text file,
                  char fault[VERIFIER_FAULT_MAX]);

/* Makes the key of a JWK (RFC 7517), a JSON value that json_scan has accepted. Returns 0; -ENOTSUP for one
 * that signs nothing of what is accepted here, to be passed over; -ENOMEM or -EINVAL with `fault` the end of
 * a sentence that begins with the key. */
int verifier_init_jwk(struct verifier *verifier, struct text jwk, char fault[VERIFIER_FAULT_MAX]);

void verifier_deinit(struct verifier *verifier);

/* The bytes of a secret in a file, which are checked to be as many as the algorithm's hash has and not to be
 * a key of another kind. Returns 0 or -EINVAL, as above. */
int verifier_read_secret(struct text *secret, enum algorithm algorithm, struct text file,
                         char fault[VERIFIER_FAULT_MAX]);
