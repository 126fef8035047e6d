/* SPDX-License-Identifier: MIT */
#pragma once

/* An object whose members are known by name, each there at most once. Hostile input that json_scan has
 * accepted; any thread. */

#include <stdint.h>

#include "base/json.h"

#define JSON_OBJECT_MEMBERS_MAX 24u
#define JSON_OBJECT_FAULT_MAX 512u

struct json_object {
    const char *const *names;                            /* end with NULL */
    struct text values[JSON_OBJECT_MEMBERS_MAX];         /* as they are written; without bytes when absent */
    struct json_value *decoded[JSON_OBJECT_MEMBERS_MAX]; /* strings with escapes */
    struct text unknown; /* the name, as it is written, of the first member that is none of those */
    const char *twice;   /* the name of one that is there twice */
    bool is_object;
    bool has_failed; /* memory was out */
};

/* Finds the members; borrows the text. The first of a name counts. What is wrong json_object_check tells. */
void json_object_read(struct json_object *object, struct text value, const char *const *names);
void json_object_deinit(struct json_object *object);

/* Whether it is an object, and only with members out of the set `allowed` (a bit for each name), each once.
 * Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence in which `noun` is what the object is. */
int json_object_check(const struct json_object *object, uint32_t allowed, const char *noun,
                      char fault[JSON_OBJECT_FAULT_MAX]);

/* The bytes of a member that must be a string, without bytes when it is absent; they live as long as the
 * object and the text do. Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence. */
int json_object_string(struct json_object *object, unsigned member, struct text *string,
                       char fault[JSON_OBJECT_FAULT_MAX]);

/* The bytes of a string: those between its quotes, or decoded to `*decoded` (NULL, or of the string before)
 * where any is escaped. Without bytes when memory is out. */
struct text json_string_text(struct text string, struct json_value **decoded);
