/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include <unistr.h>

/* A character that began in an earlier piece. Returns whether it may still be one; *taken of the bytes were
 * its. */
static bool utf8_finish(struct utf8 *utf8, const uint8_t *bytes, size_t len, size_t *taken)
{
    ucs4_t character;
    int units = -2;
    *taken = 0;
    while (units == -2 && *taken < len) {
        utf8->bytes[utf8->len++] = bytes[(*taken)++];
        units = u8_mbtoucr(&character, utf8->bytes, utf8->len);
    }
    if (units > 0)
        utf8->len = 0;
    return units != -1;
}

bool utf8_take(struct utf8 *utf8, const char *bytes, size_t len)
{
    const uint8_t *at = (const uint8_t *)bytes;
    const uint8_t *end = at + len;
    ucs4_t character;
    size_t taken = 0;
    if (utf8->len > 0 && !utf8_finish(utf8, at, len, &taken))
        return false;
    at += taken;
    at = at < end ? u8_check(at, (size_t)(end - at)) : NULL;
    if (!at)
        return true;
    if (u8_mbtoucr(&character, at, (size_t)(end - at)) != -2)
        return false;
    while (at < end)
        utf8->bytes[utf8->len++] = *at++;
    return true;
}
