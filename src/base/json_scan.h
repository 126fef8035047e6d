/* SPDX-License-Identifier: MIT */
#pragma once

/* JSON (RFC 8259) checked in place: bytes in, spans of the same bytes out, nothing allocated, so that what is
 * published as JSON is delivered as it was sent. Hostile input; any thread.
 *
 * Stricter than the grammar where a reader could not make text of it: strings are UTF-8, and an escaped
 * surrogate stands in a pair. As the grammar: a number has any size and any number of digits, a name may be
 * there twice, a string may hold \u0000.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

#define JSON_FAULT_MAX 128u
#define JSON_DEPTH_MAX 2048u /* values within each other, the innermost one included */

/* Checks that `text` is one value with white space around it. Returns 0 with `value` the bytes of it alone,
 * or -EINVAL with `fault` a clause with line and column. */
int json_scan(struct text *value, const char *text, size_t len, char fault[JSON_FAULT_MAX]);

/* Goes through the members of an object or the elements of an array that json_scan has accepted. */
struct json_walk {
    struct text name; /* with its quotes; only in an object */
    struct text value;
    const char *at; /* private from here on */
    const char *end;
};
void json_walk_begin(struct json_walk *walk, struct text container);

/* Steps to the next one; false when there is none. */
bool json_walk_next(struct json_walk *walk);
