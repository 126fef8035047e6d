/* SPDX-License-Identifier: MIT */
#include "base/json.h"

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

void json_value_free(struct json_value *value)
{
    json_decref(json_unwrap(value));
}

struct text json_value_text(const struct json_value *string)
{
    return (struct text){json_string_value(json_unwrap(string)), json_string_length(json_unwrap(string))};
}
