/* SPDX-License-Identifier: MIT */
#pragma once

/* Base64 (RFC 4648, section 4, padded) through libsodium. Any thread. */

#include <stddef.h>

/* How long `len` bytes become. */
size_t base64_size(size_t len);

/* Writes base64_size(len) bytes and a NUL. */
void base64_encode(char *to, const char *bytes, size_t len);

/* Decodes to `to`, which has room for `len` bytes. Returns 0, or -EINVAL when the text is not base64. */
int base64_decode(char *to, size_t *to_len, const char *text, size_t len);
