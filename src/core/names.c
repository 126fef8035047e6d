/* SPDX-License-Identifier: MIT */
#include "core/names.h"

#include <string.h>

static bool names_is_allowed(unsigned char byte)
{
    if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9'))
        return true;
    return byte != 0 && strchr("-_.~:@!$'()*+,;=/", byte) != NULL;
}

static bool names_segment_is_valid(const char *segment, size_t len)
{
    if (len == 0 || (len == 1 && segment[0] == '.'))
        return false;
    return !(len == 2 && segment[0] == '.' && segment[1] == '.');
}

const char *channel_name_fault(const char *name, size_t len)
{
    if (len == 0)
        return "must not be empty";
    if (len > CHANNEL_NAME_MAX)
        return "has at most 255 bytes";
    size_t begin = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && !names_is_allowed((unsigned char)name[i]))
            return "is made of A-Z a-z 0-9 - _ . ~ : @ ! $ ' ( ) * + , ; = and /";
        if (i < len && name[i] != '/')
            continue;
        if (!names_segment_is_valid(name + begin, i - begin))
            return "has no empty, '.' or '..' segment between its slashes";
        begin = i + 1;
    }
    return NULL;
}

bool channel_name_is_valid(const char *name, size_t len)
{
    return channel_name_fault(name, len) == NULL;
}
