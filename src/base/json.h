/* SPDX-License-Identifier: MIT */
#pragma once

/* Values of JSON that the server itself reads, through jansson, which is named nowhere else; what only passes
 * through is for json_scan. Any thread. */

#include "base/json_scan.h"

/* A parsed value, owned by who parsed it. */
struct json_value;

/* Parses what json_scan has accepted. Returns NULL when memory is out. */
struct json_value *json_value_parse(struct text text);
void json_value_free(struct json_value *value);

/* Whether each name stands once in its object, at every depth of what json_scan has accepted. Returns 0,
 * -EEXIST when one is there twice, -EINVAL for what no tree can hold (a number that is too large, a NUL in a
 * name), or -ENOMEM. */
int json_check_names(struct text value);

/* The bytes of a string, which may hold NULs. */
struct text json_value_text(const struct json_value *string);
