/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/declaration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char fault[DECLARATION_FAULT_MAX];
    struct declaration declaration;
    char *text = strndup((const char *)data, size);
    if (text && declaration_parse(&declaration, text, fault) == 0) {
        if (!declaration.entrance.address || !declaration.entrance.address[0] ||
            declaration.preset.len == 0 || declaration.feed.count > NAME_LIST_MAX)
            abort();
        declaration_deinit(&declaration);
    }
    free(text);
    return 0;
}
