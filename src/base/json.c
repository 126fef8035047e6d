/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* A json_value is jansson's json_t under a name that keeps jansson out of everybody else's sight. */

static json_t *json_unwrap(const struct json_value *value)
{
    return (json_t *)(uintptr_t)value;
}

static struct json_value *json_wrap(json_t *value)
{
    return (struct json_value *)(void *)value;
}

struct json_value *json_value_parse(const char *text, size_t len, char fault[JSON_FAULT_MAX])
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_error_t error;
    json_t *root = json_loadb(text, len, flags, &error);
    /* JSON sets no bound on integers; jansson reads those over 64 bits as reals when told to. */
    if (!root && json_error_code(&error) == json_error_numeric_overflow)
        root = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (!root)
        snprintf(fault, JSON_FAULT_MAX, "line %d, column %d: %s", error.line, error.column, error.text);
    return json_wrap(root);
}

void json_value_free(struct json_value *root)
{
    json_decref(json_unwrap(root));
}

bool json_value_is_object(const struct json_value *value)
{
    return json_is_object(json_unwrap(value));
}

bool json_value_is_array(const struct json_value *value)
{
    return json_is_array(json_unwrap(value));
}

bool json_value_is_string(const struct json_value *value)
{
    return json_is_string(json_unwrap(value));
}

size_t json_value_count(const struct json_value *array)
{
    return json_array_size(json_unwrap(array));
}

const struct json_value *json_value_at(const struct json_value *array, size_t index)
{
    return json_wrap(json_array_get(json_unwrap(array), index));
}

const struct json_value *json_value_member(const struct json_value *object, const char *name)
{
    return json_wrap(json_object_get(json_unwrap(object), name));
}

const char *json_value_text(const struct json_value *string, size_t *len)
{
    *len = json_string_length(json_unwrap(string));
    return json_string_value(json_unwrap(string));
}

int json_value_u64(const struct json_value *value, uint64_t *number)
{
    const json_t *json = json_unwrap(value);
    if (!json_is_integer(json) || json_integer_value(json) < 0)
        return -EINVAL;
    *number = (uint64_t)json_integer_value(json);
    return 0;
}

char *json_value_format(const struct json_value *value, size_t *len)
{
    char *text = json_dumps(json_unwrap(value), JSON_COMPACT | JSON_ENCODE_ANY);
    *len = text ? strlen(text) : 0;
    return text;
}
