/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_HTTP_HEAD_H
#define SLUICE_HTTP_HEAD_H

/* The first look at a request head, before libmicrohttpd gets it: is it whole, is it HTTP at all, how much
 * memory will it want. Pure; hostile input; any thread.
 */

#include <stddef.h>

#include "tbl/errors.h"

/* Returns the length of the head with its empty line, 0 while it is not whole. *error is set when these bytes
 * can never become a head that libmicrohttpd parses; *pool_bytes is set with a whole head. Empty lines before
 * the request line belong to the head. */
size_t head_inspect(const char *bytes, size_t len, size_t *pool_bytes, enum error_code *error);

/* The value of the first field of that name in a head, whole or not, without the blanks around it; NULL when
 * absent. */
const char *head_find_field(const char *head, size_t len, const char *name, size_t *value_len);

#endif
