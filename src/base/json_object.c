/* SPDX-License-Identifier: MIT */
#include "base/json_object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_SHOWN_MAX 64u

struct text json_string_text(struct text string, struct json_value **decoded)
{
    json_value_free(*decoded);
    *decoded = NULL;
    if (!memchr(string.bytes, '\\', string.len))
        return (struct text){string.bytes + 1, string.len - 2};
    *decoded = json_value_parse(string);
    return *decoded ? json_value_text(*decoded) : (struct text){0};
}

static void json_object_add(struct json_object *object, const struct json_walk *walk)
{
    struct json_value *decoded = NULL;
    struct text name = json_string_text(walk->name, &decoded);
    size_t member = name.bytes ? text_index(name, object->names, JSON_OBJECT_MEMBERS_MAX) : 0;
    json_value_free(decoded);
    if (!name.bytes)
        object->has_failed = true;
    else if (member == JSON_OBJECT_MEMBERS_MAX || !object->names[member])
        object->unknown = object->unknown.bytes ? object->unknown : walk->name;
    else if (object->values[member].bytes)
        object->twice = object->names[member];
    else
        object->values[member] = walk->value;
}

void json_object_read(struct json_object *object, struct text value, const char *const *names)
{
    struct json_walk walk;
    *object = (struct json_object){.names = names, .is_object = value.bytes[0] == '{'};
    if (!object->is_object)
        return;
    json_walk_begin(&walk, value);
    while (json_walk_next(&walk))
        json_object_add(object, &walk);
}

void json_object_deinit(struct json_object *object)
{
    for (unsigned i = 0; i < JSON_OBJECT_MEMBERS_MAX; i++)
        json_value_free(object->decoded[i]);
}

/* "a, b and c" of those that are allowed. */
static void json_object_list(const struct json_object *object, uint32_t allowed, char *fault)
{
    const char *separator = "";
    for (unsigned i = 0; object->names[i]; i++) {
        size_t len = strlen(fault);
        if (!(allowed & 1u << i))
            continue;
        allowed &= ~(1u << i);
        snprintf(fault + len, JSON_OBJECT_FAULT_MAX - len, "%s%s", separator, object->names[i]);
        separator = allowed & (allowed - 1) ? ", " : " and ";
    }
}

static int json_object_refuse(const struct json_object *object, uint32_t allowed, const char *noun,
                              struct text name, char *fault)
{
    size_t shown = name.len;
    if (shown > NAME_SHOWN_MAX)
        for (shown = NAME_SHOWN_MAX; (name.bytes[shown] & 0xc0) == 0x80;)
            shown--;
    snprintf(fault, JSON_OBJECT_FAULT_MAX, "%s has no member %.*s; it has ", noun, (int)shown, name.bytes);
    json_object_list(object, allowed, fault);
    return -EINVAL;
}

int json_object_check(const struct json_object *object, uint32_t allowed, const char *noun,
                      char fault[JSON_OBJECT_FAULT_MAX])
{
    if (!object->is_object) {
        snprintf(fault, JSON_OBJECT_FAULT_MAX, "%s must be an object", noun);
        return -EINVAL;
    }
    if (object->unknown.bytes)
        return json_object_refuse(object, allowed, noun, object->unknown, fault);
    for (unsigned i = 0; object->names[i]; i++) {
        char quoted[NAME_SHOWN_MAX];
        snprintf(quoted, sizeof(quoted), "\"%s\"", object->names[i]);
        if (object->values[i].bytes && !(allowed & 1u << i))
            return json_object_refuse(object, allowed, noun, text_of(quoted), fault);
    }
    if (!object->twice)
        return object->has_failed ? -ENOMEM : 0;
    snprintf(fault, JSON_OBJECT_FAULT_MAX, "\"%s\" is given twice", object->twice);
    return -EINVAL;
}

int json_object_string(struct json_object *object, unsigned member, struct text *string,
                       char fault[JSON_OBJECT_FAULT_MAX])
{
    const struct text value = object->values[member];
    *string = (struct text){0};
    if (!value.bytes)
        return 0;
    if (value.bytes[0] != '"') {
        snprintf(fault, JSON_OBJECT_FAULT_MAX, "\"%s\" must be a string", object->names[member]);
        return -EINVAL;
    }
    *string = json_string_text(value, &object->decoded[member]);
    return string->bytes ? 0 : -ENOMEM;
}
