/* SPDX-License-Identifier: MIT */
#pragma once

/* Keys in PEM (RFC 7468) as cjose takes them, through OpenSSL. Any thread. */

#include "auth/algorithm.h"
#include "base/text.h"

#define PEM_FAULT_MAX 256u
#define PEM_RSA_BITS_MIN 2048
#define PEM_RSA_BITS_MAX 16384 /* beyond, one token costs milliseconds */

/* Whether a PEM or DER key stands where the bytes of a secret should. */
bool pem_is_key(struct text bytes);

/* The one public key (or the one of a certificate) in the text, for that algorithm, which is not HS*. A
 * private key is refused. Returns NULL with `fault` the end of a sentence that begins with the file. */
cjose_jwk_t *pem_read_public(struct text pem, enum algorithm algorithm, char fault[PEM_FAULT_MAX]);

/* The same of a private key. */
cjose_jwk_t *pem_read_private(struct text pem, enum algorithm algorithm, char fault[PEM_FAULT_MAX]);
