/* SPDX-License-Identifier: MIT */
#include "core/ancestry.h"

#include <string.h>

void ancestry_add(struct ancestry *ancestry, const struct epoch *epoch)
{
    if (ancestry->count < ANCESTRY_MAX)
        ancestry->count++;
    memmove(&ancestry->forebears[1], &ancestry->forebears[0],
            (ancestry->count - 1) * sizeof(ancestry->forebears[0]));
    ancestry->forebears[0] = *epoch;
}

bool ancestry_has(const struct ancestry *ancestry, const struct epoch *epoch)
{
    for (unsigned i = 0; i < ancestry->count; i++)
        if (epoch_equals(&ancestry->forebears[i], epoch))
            return true;
    return false;
}
