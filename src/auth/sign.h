/* SPDX-License-Identifier: MIT */
#pragma once

/* Signing, for `sluice token`; the server itself signs nothing. Any thread. */

#include "auth/verifier.h"

/* Signs the claims, a JSON object as text: makes a malloc'd, terminated token with `typ` JWT and the key id,
 * if any. `file` holds the secret for HS*, a private key in PEM for all others. Returns 0, -ENOMEM or
 * -EINVAL, with `fault` the end of a sentence that begins with the file. */
int token_sign(char **token, enum algorithm algorithm, struct text kid, struct text file, struct text claims,
               char fault[VERIFIER_FAULT_MAX]);
