/* SPDX-License-Identifier: MIT */
#include "core/names.h"

#include <string.h>

#include "base/pattern.h"

_Static_assert(PATTERN_MAX == CHANNEL_NAME_MAX,
               "every name is a pattern's match, and every pattern may be one");

bool channel_name_is_reserved(struct text name)
{
    const char *at = memchr(name.bytes, PATTERN_RESERVED, name.len);
    while (at && at > name.bytes && at[-1] != '/')
        at = memchr(at + 1, PATTERN_RESERVED, (size_t)(name.bytes + name.len - at - 1));
    return at != NULL;
}

struct text channel_name_of_presence(struct text name)
{
    static const char suffix[] = "/" CHANNEL_PRESENCE;
    const size_t len = sizeof(suffix) - 1;
    struct text owner = {name.bytes, name.len - len};
    bool is_one = name.len > len && memcmp(name.bytes + owner.len, suffix, len) == 0;
    return is_one && !channel_name_is_reserved(owner) ? owner : (struct text){0};
}

static size_t names_join(char to[CHANNEL_NAME_MAX], struct text first, struct text second)
{
    if (first.len + 1 + second.len > CHANNEL_NAME_MAX)
        return 0;
    memcpy(to, first.bytes, first.len);
    to[first.len] = '/';
    memcpy(to + first.len + 1, second.bytes, second.len);
    return first.len + 1 + second.len;
}

size_t channel_name_make_presence(char to[CHANNEL_NAME_MAX], struct text name)
{
    return names_join(to, name, text_of(CHANNEL_PRESENCE));
}

size_t channel_name_make_events(char to[CHANNEL_NAME_MAX], struct text name)
{
    return names_join(to, text_of(CHANNEL_EVENTS), name);
}

const char *channel_wish_fault(struct text name)
{
    const struct text above = {name.bytes, name.len - strlen(CHANNEL_BELOW)};
    if (!channel_name_is_wild(name) || name.len > CHANNEL_NAME_MAX)
        return pattern_name_fault(name);
    return pattern_name_fault(above);
}

const char *channel_name_fault(const char *name, size_t len)
{
    return pattern_name_fault((struct text){name, len});
}

bool channel_name_is_valid(const char *name, size_t len)
{
    return channel_name_fault(name, len) == NULL;
}
