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

/* The bytes of a string, which may hold NULs. */
struct text json_value_text(const struct json_value *string);
