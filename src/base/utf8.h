/* SPDX-License-Identifier: MIT */
#pragma once

/* UTF-8 (RFC 3629) that comes in pieces. Hostile input; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zeros is the beginning of a text. */
struct utf8 {
    uint8_t len; /* of the character that is not whole yet */
    uint8_t bytes[4];
};

/* Whether the text with `len` bytes more may still become UTF-8. */
bool utf8_take(struct utf8 *utf8, const char *bytes, size_t len);

/* Whether it may end here. */
static inline bool utf8_is_whole(const struct utf8 *utf8)
{
    return utf8->len == 0;
}
