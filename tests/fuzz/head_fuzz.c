/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum error_code error = ERROR_NONE;
    size_t pool = 0;
    size_t len = head_inspect((const char *)data, size, &pool, &error);
    if (len > size || (len > 0 && error != ERROR_NONE) || (len > 0 && pool == 0))
        abort();
    return 0;
}
