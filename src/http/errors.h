/* SPDX-License-Identifier: MIT */
#pragma once

/* How an error of the table looks in HTTP. Pure; any thread. */

#include <stdbool.h>

#include "base/buf.h"
#include "tables/errors.h"

/* ERROR_RETRY_AFTER_S as text. */
#define ERRORS_TEXT_OF(value) #value
#define ERRORS_TEXT(value) ERRORS_TEXT_OF(value)
#define ERRORS_RETRY_AFTER ERRORS_TEXT(ERROR_RETRY_AFTER_S)

/* Whether it passes by itself: 503, and 429 (RFC 6585, section 4). */
bool errors_passes(enum error_code error);

/* Appends {"error":"code","message":"…"}; as a body with a line end. */
void errors_render_object(struct buf *to, enum error_code error, const char *message);
void errors_render_body(struct buf *to, enum error_code error, const char *message);
