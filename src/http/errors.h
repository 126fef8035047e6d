/* SPDX-License-Identifier: MIT */
#pragma once

/* How an error of the table looks in HTTP. Pure; any thread. */

#include <stdbool.h>

#include "base/buf.h"
#include "tables/errors.h"

/* Seconds after which a client may come back that got what passes by itself. */
#define ERRORS_RETRY_AFTER "2"

/* Whether it passes by itself: 503, and 429 (RFC 6585, section 4). */
bool errors_passes(enum error_code error);

/* Appends {"error":"code","message":"…"}; as a body with a line end. */
void errors_render_object(struct buf *to, enum error_code error, const char *message);
void errors_render_body(struct buf *to, enum error_code error, const char *message);
