/* SPDX-License-Identifier: MIT */
#include "auth/jwks.h"

#include <stdint.h>
#include <stdlib.h>

#define FUZZ_KEYS_MAX 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct verifier verifiers[FUZZ_KEYS_MAX];
    char fault[JWKS_FAULT_MAX];
    size_t count = 0;
    int err = jwks_parse(verifiers, &count, FUZZ_KEYS_MAX, (struct text){(const char *)data, size}, fault);
    if ((err == 0 && count == 0) || count > FUZZ_KEYS_MAX)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (verifiers[i].algorithm >= ALGORITHM_COUNT || verifiers[i].signature_bytes < 32)
            abort();
        verifier_deinit(&verifiers[i]);
    }
    return 0;
}
