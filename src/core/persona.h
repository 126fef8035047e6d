/* SPDX-License-Identifier: MIT */
#pragma once

/* Who somebody is that subscribes, as presence tells it: a name, and what he says of himself besides.
 * Immutable once made and counted atomically: any thread. Counts in message_memory_bytes(). */

#include <stdatomic.h>
#include <stdint.h>

#include "base/text.h"
#include "tables/errors.h"

#define PERSONA_NAME_MAX 255u
#define PERSONA_INFO_MAX 1024u
#define PERSONA_FAULT_MAX 256u

struct persona {
    _Atomic unsigned references;
    uint8_t name_len; /* 0: nobody in particular, who is counted only */
    uint16_t info_len;
    char bytes[]; /* the name, terminated; the info */
};

/* Whether a client may give these; hostile. Without bytes is not given. Returns ERROR_NONE, or
 * ERROR_BAD_OPTION with `fault` a sentence: a name is 1 to PERSONA_NAME_MAX bytes of UTF-8 without control
 * characters, the info JSON of at most PERSONA_INFO_MAX bytes. `info` becomes the value alone, without white
 * space around it. */
enum error_code persona_check(struct text name, struct text *info, char fault[PERSONA_FAULT_MAX]);

/* Of a name that has been checked, or a token's; one that cannot be told is nobody's. NULL when memory is
 * out.
 */
struct persona *persona_new(struct text name, struct text info);
struct persona *persona_ref(struct persona *persona); /* NULL is allowed */
void persona_unref(struct persona *persona);          /* NULL is allowed */

static inline struct text persona_name(const struct persona *persona)
{
    return (struct text){persona->bytes, persona->name_len};
}

static inline struct text persona_info(const struct persona *persona)
{
    return (struct text){persona->bytes + persona->name_len + 1, persona->info_len};
}
