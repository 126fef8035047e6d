/* SPDX-License-Identifier: MIT */
#pragma once

/* Percent encoding (RFC 3986, section 2.1). Pure; hostile input; any thread. */

#include <stddef.h>

/* Decodes `len` bytes to `to`, which has room for len + 1, and terminates. Returns 0, or -EINVAL for a broken
 * escape or a NUL byte. */
int percent_decode(char *to, size_t *to_len, const char *text, size_t len);
