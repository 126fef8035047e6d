/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BASE_JSON_H
#define SLUICE_BASE_JSON_H

/* JSON (RFC 8259) through jansson, which is named nowhere else. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_FAULT_MAX 256u

/* A parsed value. The root is owned by who parsed it; the others by the root. */
struct json_value;

/* Parses `len` bytes of one value of any kind. Returns NULL with `fault` a clause with line and column. */
struct json_value *json_value_parse(const char *text, size_t len, char fault[JSON_FAULT_MAX]);
void json_value_free(struct json_value *root);

bool json_value_is_object(const struct json_value *value);
bool json_value_is_array(const struct json_value *value);
bool json_value_is_string(const struct json_value *value);

size_t json_value_count(const struct json_value *array);
const struct json_value *json_value_at(const struct json_value *array, size_t index);

/* The member of that name; NULL when there is none. */
const struct json_value *json_value_member(const struct json_value *object, const char *name);

/* The bytes of a string, which may hold NULs. */
const char *json_value_text(const struct json_value *string, size_t *len);

/* Returns 0, or -EINVAL when the value is not a whole number from 0 on. */
int json_value_u64(const struct json_value *value, uint64_t *number);

/* The value as compact JSON, malloc'd; NULL when memory is out. */
char *json_value_format(const struct json_value *value, size_t *len);

#endif
