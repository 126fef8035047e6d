/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>

/* A json_value is jansson's json_t under a name that keeps jansson out of everybody else's sight. */

static json_t *json_unwrap(const struct json_value *value)
{
    return (json_t *)(uintptr_t)value;
}

struct json_value *json_value_parse(struct text text)
{
    return (struct json_value *)(void *)json_loadb(text.bytes, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL,
                                                   NULL);
}

int json_check_names(struct text value)
{
    json_error_t error;
    json_t *tree = json_loadb(
        value.bytes, value.len,
        JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES, &error);
    if (tree) {
        json_decref(tree);
        return 0;
    }
    switch (json_error_code(&error)) {
    case json_error_duplicate_key:
        return -EEXIST;
    case json_error_out_of_memory:
        return -ENOMEM;
    default:
        return -EINVAL;
    }
}

void json_value_free(struct json_value *value)
{
    json_decref(json_unwrap(value));
}

struct text json_value_text(const struct json_value *string)
{
    return (struct text){json_string_value(json_unwrap(string)), json_string_length(json_unwrap(string))};
}
