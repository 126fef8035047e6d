/* SPDX-License-Identifier: MIT */
#include "base/base64.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>

size_t base64_size(size_t len)
{
    return sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL) - 1;
}

void base64_encode(char *to, const char *bytes, size_t len)
{
    sodium_bin2base64(to, base64_size(len) + 1, (const unsigned char *)bytes, len,
                      sodium_base64_VARIANT_ORIGINAL);
}

/* libsodium 1.0.18 compares signed characters: to it any byte above 0x7f is in the alphabet. */
static bool base64_is_ascii(const char *text, size_t len)
{
    unsigned char all = 0;
    for (size_t i = 0; i < len; i++)
        all |= (unsigned char)text[i];
    return all < 0x80;
}

static int base64_read(char *to, size_t *to_len, const char *text, size_t len, int variant)
{
    const char *end;
    if (!base64_is_ascii(text, len) ||
        sodium_base642bin((unsigned char *)to, len, text, len, NULL, to_len, &end, variant) ||
        end != text + len)
        return -EINVAL;
    return 0;
}

int base64_decode(char *to, size_t *to_len, const char *text, size_t len)
{
    return base64_read(to, to_len, text, len, sodium_base64_VARIANT_ORIGINAL);
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
    return base64_read(to, to_len, text, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}
