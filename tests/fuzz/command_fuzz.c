/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "transport/tcp/commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(const struct text *text, const char *bytes, size_t size)
{
    if (text->bytes && (text->bytes < bytes || text->bytes + text->len > bytes + size))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct command command;
    command_parse(&command, bytes, size);
    fuzz_check(&command.first, bytes, size);
    fuzz_check(&command.second, bytes, size);
    fuzz_check(&command.rest, bytes, size);
    fuzz_check(&command.data, bytes, size);
    return 0;
}
