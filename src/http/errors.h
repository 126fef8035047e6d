/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_HTTP_ERRORS_H
#define SLUICE_HTTP_ERRORS_H

/* How an error of the table looks in HTTP. Pure; any thread. */

#include <stddef.h>

#include "base/buf.h"
#include "tables/errors.h"

/* Seconds after which a client that got 503 may come back. */
#define ERRORS_RETRY_AFTER "2"

/* Appends {"error":"code","message":"…"} and a line end. */
void errors_render_body(struct buf *to, enum error_code error, const char *message);

/* A whole HTTP/1.1 response that closes the connection, for where libmicrohttpd has no say. Returns its
 * length, at most `size`. */
size_t errors_render_response(enum error_code error, char *to, size_t size);

#endif
