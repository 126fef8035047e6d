/* SPDX-License-Identifier: MIT */
#include "base/base64.h"

#include <errno.h>
#include <sodium.h>

size_t base64_size(size_t len)
{
    return sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL) - 1;
}

void base64_encode(char *to, const char *bytes, size_t len)
{
    sodium_bin2base64(to, base64_size(len) + 1, (const unsigned char *)bytes, len,
                      sodium_base64_VARIANT_ORIGINAL);
}

int base64_decode(char *to, size_t *to_len, const char *text, size_t len)
{
    const char *end;
    if (sodium_base642bin((unsigned char *)to, len, text, len, NULL, to_len, &end,
                          sodium_base64_VARIANT_ORIGINAL) ||
        end != text + len)
        return -EINVAL;
    return 0;
}

size_t base64_url_size(size_t len)
{
    return sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING) - 1;
}

void base64_url_encode(char *to, const char *bytes, size_t len)
{
    sodium_bin2base64(to, base64_url_size(len) + 1, (const unsigned char *)bytes, len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int base64_url_decode(char *to, size_t *to_len, const char *text, size_t len)
{
    const char *end;
    if (sodium_base642bin((unsigned char *)to, len, text, len, NULL, to_len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) ||
        end != text + len)
        return -EINVAL;
    return 0;
}
