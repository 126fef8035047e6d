/* SPDX-License-Identifier: MIT */
#pragma once

/* Why somebody may not, and why a key is none. Any thread. */

#include <stddef.h>

#include "auth/keys.h"
#include "tables/errors.h"

/* Writes the sentence, cut to its room, and returns `error`. */
__attribute__((format(printf, 3, 4))) enum error_code
auth_refuse(char fault[AUTH_FAULT_MAX], enum error_code error, const char *format, ...);

/* The same in any room of `size` bytes, one at least; returns -EINVAL. */
__attribute__((format(printf, 3, 4))) int auth_fail(char *fault, size_t size, const char *format, ...);
