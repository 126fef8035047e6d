/* SPDX-License-Identifier: MIT */
#include "core/names.h"

#include "base/pattern.h"

_Static_assert(PATTERN_MAX == CHANNEL_NAME_MAX,
               "every name is a pattern's match, and every pattern may be one");

const char *channel_name_fault(const char *name, size_t len)
{
    return pattern_name_fault((struct text){name, len});
}

bool channel_name_is_valid(const char *name, size_t len)
{
    return channel_name_fault(name, len) == NULL;
}
