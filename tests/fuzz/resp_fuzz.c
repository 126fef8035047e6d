/* SPDX-License-Identifier: MIT */
/* Commands of the Redis protocol: within their limits, unfinished until their last byte has come, and the
 * same when they are read again from their own bytes, as EXEC does. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/resp.h"

#define FUZZ_LIMIT 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(const struct resp_command *command)
{
    bool is_array = command->bytes[0] == '*';
    for (unsigned i = 0; i < command->count; i++) {
        const struct text *argument = &command->arguments[i];
        const char *from = is_array ? command->bytes : command->line;
        size_t len = is_array ? command->size : sizeof(command->line);
        if (argument->bytes < from || argument->bytes + argument->len > from + len ||
            argument->len > FUZZ_LIMIT * 4)
            abort();
    }
}

static void fuzz_read_again(const struct resp_command *command)
{
    static struct resp_command again;
    char *bytes = malloc(command->size);
    if (bytes) {
        memcpy(bytes, command->bytes, command->size);
        if (resp_read(bytes, command->size - 1, FUZZ_LIMIT, &again) != RESP_PARTIAL)
            abort();
        if (resp_read(bytes, command->size, FUZZ_LIMIT, &again) != RESP_WHOLE ||
            again.count != command->count || again.size != command->size)
            abort();
        for (unsigned i = 0; i < again.count; i++)
            if (again.arguments[i].len != command->arguments[i].len ||
                memcmp(again.arguments[i].bytes, command->arguments[i].bytes, again.arguments[i].len) != 0)
                abort();
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct resp_command command;
    const char *bytes = (const char *)data;
    size_t done = 0;
    while (done < size && resp_read(bytes + done, size - done, FUZZ_LIMIT, &command) == RESP_WHOLE) {
        if (command.size == 0 || command.size > size - done || command.bytes != bytes + done)
            abort();
        fuzz_check(&command);
        fuzz_read_again(&command);
        done += command.size;
    }
    return 0;
}
