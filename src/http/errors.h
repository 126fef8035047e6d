/* SPDX-License-Identifier: MIT */
#pragma once

/* How an error of the table looks in HTTP. Pure; any thread. */

#include "base/buf.h"
#include "tables/errors.h"

/* Seconds after which a client that got 503 may come back. */
#define ERRORS_RETRY_AFTER "2"

/* Appends {"error":"code","message":"…"}; as a body with a line end. */
void errors_render_object(struct buf *to, enum error_code error, const char *message);
void errors_render_body(struct buf *to, enum error_code error, const char *message);
