/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "http/chunks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cut anywhere, the same body comes out. */
static uint64_t run(const char *bytes, size_t size, size_t step, size_t *end, enum chunks_state *state)
{
    struct chunks chunks = {0};
    uint64_t sum = 0;
    *end = 0;
    while (*end < size && !chunks_are_done(&chunks)) {
        const char *data;
        size_t data_len;
        size_t len = size - *end < step ? size - *end : step;
        ssize_t taken = chunks_read(&chunks, bytes + *end, len, &data, &data_len);
        if (taken < 0) {
            *state = CHUNKS_SIZE;
            *end = SIZE_MAX;
            return 0;
        }
        if ((size_t)taken > len || (taken == 0 && len > 0) || data_len > (size_t)taken)
            abort();
        for (size_t i = 0; i < data_len; i++)
            sum = sum * 31 + (unsigned char)data[i] + 1;
        *end += (size_t)taken;
    }
    *state = chunks.state;
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t end;
    size_t other_end;
    enum chunks_state state;
    enum chunks_state other_state;
    uint64_t sum = run((const char *)data, size, SIZE_MAX, &end, &state);
    if (run((const char *)data, size, 1, &other_end, &other_state) != sum || end != other_end ||
        state != other_state)
        abort();
    return 0;
}
