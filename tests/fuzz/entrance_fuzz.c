/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shard/entrance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char fault[PAIRS_FAULT_MAX] = "";
    struct entrance entrance;
    char *text = strndup((const char *)data, size);
    int err = text ? entrance_parse(&entrance, text, fault) : 0;
    if (err && !fault[0])
        abort();
    if (text && !err) {
        if (!entrance.address || !entrance.address[0] || (entrance.has_mode && !entrance.path))
            abort();
        entrance_deinit(&entrance);
    }
    free(text);
    return 0;
}
