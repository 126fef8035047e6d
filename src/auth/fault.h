/* SPDX-License-Identifier: MIT */
#pragma once

/* Why somebody may not. Any thread. */

#include "auth/keys.h"
#include "tables/errors.h"

/* Writes the sentence, cut to its room, and returns `error`. */
__attribute__((format(printf, 3, 4))) enum error_code
auth_refuse(char fault[AUTH_FAULT_MAX], enum error_code error, const char *format, ...);
