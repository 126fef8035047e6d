/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "core/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken is written and read again: it must be the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct start start;
    if (start_parse(&start, (const char *)data, size) || start.kind != START_CURSOR)
        return 0;
    if (start.count > CURSOR_ENTRIES_MAX)
        abort();
    for (unsigned i = 0; i < start.count; i++) {
        char text[POSITION_TEXT_MAX];
        struct start again;
        size_t len = position_format(text, &start.at[i].epoch, start.at[i].offset);
        if (start_parse(&again, text, len) || again.at[0].offset != start.at[i].offset ||
            epoch_is_of_name(&again.at[0].epoch) != epoch_is_of_name(&start.at[i].epoch))
            abort();
    }
    return 0;
}
