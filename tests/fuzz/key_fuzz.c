/* SPDX-License-Identifier: MIT */
/* A declaration of a key in the first line, what its file holds in the others. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/pem.h"
#include "auth/verifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct verifier_declaration declaration;
    char fault[VERIFIER_FAULT_MAX];
    struct verifier verifier;
    struct text text = {(const char *)data, size};
    const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
    struct text file = {"", 0};
    if (end) {
        text.len = (size_t)(end - text.bytes);
        file = (struct text){end + 1, size - text.len - 1};
    }
    if (size == 0 || verifier_declaration_parse(&declaration, text, fault))
        return 0;
    if (declaration.path.len == 0 || declaration.kid.len > VERIFIER_KID_MAX)
        abort();
    if (verifier_init(&verifier, &declaration, file, fault))
        return 0;
    if (algorithms[verifier.algorithm].key_kind == CJOSE_JWK_KTY_OCT && pem_is_key(file))
        abort();
    verifier_deinit(&verifier);
    return 0;
}
