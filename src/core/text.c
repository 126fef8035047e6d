/* SPDX-License-Identifier: MIT */
#include "core/text.h"

#include <unistr.h>

#include "core/message.h"

bool text_is_utf8(const char *text, size_t len, size_t *bad)
{
    const uint8_t *at = u8_check((const uint8_t *)text, len);
    if (at && bad)
        *bad = (size_t)((const char *)at - text);
    return !at;
}

bool text_is_attribute(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return len <= MESSAGE_ATTRIBUTE_MAX && text_is_utf8(text, len, NULL);
}
