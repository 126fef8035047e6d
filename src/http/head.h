/* SPDX-License-Identifier: MIT */
#pragma once

/* The one place that judges a request head, before libmicrohttpd gets it: is it whole, is it HTTP as RFC 9112
 * wants it and as every server on the way reads it, where does the request end, how much memory will it want.
 * Pure; hostile input; any thread.
 *
 * What libmicrohttpd gets is written anew: the request line with its target in origin form, the fields that
 * somebody asks for (http/fields.h), and whether the connection is kept. It knows of no body: we read that.
 */

#include "shard/door.h"

/* The query arguments of one request; a subscription names at most 64 channels. */
#define HEAD_ARGUMENTS_MAX 256u

/* Fills in *head, of which only `fed` is set. Empty lines before the request line belong to the head. */
void head_inspect(const char *bytes, size_t len, struct door_head *head);

/* The value of the first field of that name in a head, whole or not, without the blanks around it; NULL when
 * absent. */
const char *head_find_field(const char *head, size_t len, const char *name, size_t *value_len);
