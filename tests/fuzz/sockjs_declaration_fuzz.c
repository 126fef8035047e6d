/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/sockjs/declaration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char fault[PAIRS_FAULT_MAX];
    struct sockjs_declaration declaration;
    char *text = strndup((const char *)data, size);
    if (text && sockjs_declaration_parse(&declaration, text, fault) == 0) {
        if (declaration.prefix[0] != '/' || declaration.prefix[strlen(declaration.prefix) - 1] == '/' ||
            !declaration.client_url || declaration.response_limit_bytes == 0 ||
            declaration.feed.count > NAME_LIST_MAX || strpbrk(declaration.client_url, "\"<>&'"))
            abort();
        sockjs_declaration_deinit(&declaration);
    }
    free(text);
    return 0;
}
