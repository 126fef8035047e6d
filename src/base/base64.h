/* SPDX-License-Identifier: MIT */
#pragma once

/* Base64 (RFC 4648) through libsodium: of section 4, padded; and of section 5, for URLs, without padding. Any
 * thread. */

#include <stddef.h>

/* How long `len` bytes become. */
size_t base64_size(size_t len);

/* Writes base64_size(len) bytes and a NUL. */
void base64_encode(char *to, const char *bytes, size_t len);

/* Decodes to `to`, which has room for `len` bytes. Returns 0, or -EINVAL when the text is not base64. */
int base64_decode(char *to, size_t *to_len, const char *text, size_t len);

/* The same for URLs; base64_url_size(len) bytes and a NUL. */
size_t base64_url_size(size_t len);
void base64_url_encode(char *to, const char *bytes, size_t len);

/* Decodes to `to`, which has room for `len` bytes, what base64_url_encode would have written and nothing
 * else: no padding, no white space, no bits behind the last byte. Returns 0, or -EINVAL. */
int base64_url_decode(char *to, size_t *to_len, const char *text, size_t len);
