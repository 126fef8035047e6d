/* SPDX-License-Identifier: MIT */
#include "base/percent.h"

#include <errno.h>

#include "base/number.h"

int percent_decode(char *to, size_t *to_len, const char *text, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        char byte = text[i];
        if (byte == '%') {
            if (len - i < 3)
                return -EINVAL;
            int high = number_parse_hex_digit(text[i + 1]);
            int low = number_parse_hex_digit(text[i + 2]);
            if (high < 0 || low < 0)
                return -EINVAL;
            byte = (char)(high * 16 + low);
            i += 2;
        }
        if (byte == '\0')
            return -EINVAL;
        to[out++] = byte;
    }
    to[out] = '\0';
    *to_len = out;
    return 0;
}
