/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "transport/tcp/resp.h"

#define FUZZ_LIMIT 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct resp_command command;
    struct resp_reader *reader = resp_reader_new();
    const char *bytes = (const char *)data;
    volatile char sum = 0;
    size_t done = 0;
    while (reader && done < size &&
           resp_read(reader, bytes + done, size - done, FUZZ_LIMIT, &command) == RESP_WHOLE) {
        if (command.size == 0 || command.size > size - done)
            abort();
        for (unsigned i = 0; i < command.count; i++)
            for (size_t at = 0; at < command.arguments[i].len; at++)
                sum = (char)(sum + command.arguments[i].bytes[at]);
        done += command.size;
    }
    resp_reader_free(reader);
    return 0;
}
