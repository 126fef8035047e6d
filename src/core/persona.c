/* SPDX-License-Identifier: MIT */
#include "core/persona.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "core/message.h"

_Static_assert(PERSONA_NAME_MAX == MESSAGE_ATTRIBUTE_MAX, "a name follows the rules of attributes");

/* Terminals heed the control characters of two bytes, U+0080 to U+009F, too. */
static bool persona_name_is_valid(struct text name)
{
    for (size_t i = 1; i < name.len; i++)
        if ((unsigned char)name.bytes[i - 1] == 0xc2 && (unsigned char)name.bytes[i] < 0xa0)
            return false;
    return message_attribute_is_valid(name);
}

enum error_code persona_check(struct text name, struct text *info, char fault[PERSONA_FAULT_MAX])
{
    char why[JSON_FAULT_MAX];
    if (name.bytes && (name.len == 0 || !persona_name_is_valid(name))) {
        snprintf(fault, PERSONA_FAULT_MAX, "as must be 1 to %u bytes of UTF-8 without control characters",
                 PERSONA_NAME_MAX);
        return ERROR_BAD_OPTION;
    }
    if (info->bytes && info->len > PERSONA_INFO_MAX) {
        snprintf(fault, PERSONA_FAULT_MAX, "info has at most %u bytes, not %zu", PERSONA_INFO_MAX, info->len);
        return ERROR_BAD_OPTION;
    }
    if (info->bytes && json_scan(info, info->bytes, info->len, why)) {
        snprintf(fault, PERSONA_FAULT_MAX, "info is not JSON: %s", why);
        return ERROR_BAD_OPTION;
    }
    return ERROR_NONE;
}

static size_t persona_size(size_t name_len, size_t info_len)
{
    return sizeof(struct persona) + name_len + 1 + info_len;
}

struct persona *persona_new(struct text name, struct text info)
{
    if (!persona_name_is_valid(name))
        name.len = 0;
    struct persona *persona = malloc(persona_size(name.len, info.len));
    if (!persona)
        return NULL;
    message_memory_add(persona_size(name.len, info.len));
    atomic_init(&persona->references, 1);
    persona->name_len = (uint8_t)name.len;
    persona->info_len = (uint16_t)info.len;
    if (name.len > 0)
        memcpy(persona->bytes, name.bytes, name.len);
    persona->bytes[name.len] = '\0';
    /* White space between its tokens becomes blanks: no line that it stands in is broken. */
    for (size_t i = 0; i < info.len; i++)
        persona->bytes[name.len + 1 + i] = (unsigned char)info.bytes[i] < ' ' ? ' ' : info.bytes[i];
    return persona;
}

struct persona *persona_ref(struct persona *persona)
{
    if (persona)
        atomic_fetch_add_explicit(&persona->references, 1, memory_order_relaxed);
    return persona;
}

void persona_unref(struct persona *persona)
{
    if (!persona || atomic_fetch_sub_explicit(&persona->references, 1, memory_order_acq_rel) != 1)
        return;
    message_memory_remove(persona_size(persona->name_len, persona->info_len));
    free(persona);
}
