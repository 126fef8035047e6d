/* SPDX-License-Identifier: MIT */
#pragma once

/* Channel names that a declaration holds: one, or several between commas. Pure; any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/pairs.h"
#include "base/text.h"
#include "core/cursor.h"
#include "core/names.h"

#define NAME_LIST_MAX CURSOR_CHANNELS_MAX

struct channel_name {
    uint8_t len;
    char text[CHANNEL_NAME_MAX + 1];
};

struct name_list {
    unsigned count;
    struct channel_name *names;
};

static inline struct text channel_name_text(const struct channel_name *name)
{
    return (struct text){name->text, name->len};
}

/* Sets a name. Returns 0, or -EINVAL with the fault written. */
int channel_name_read(struct pairs *pairs, struct channel_name *to, const char *name, size_t len);

/* For a value that is one of `count` words, or publish:CHANNEL: sets the index of the word, or the count and
 * the name. `says` is all of these as a sentence has them. Returns 0, or -EINVAL with the fault written. */
int channel_or_word_read(struct pairs *pairs, unsigned *index, struct channel_name *publish_to,
                         const char *const *words, unsigned count, const char *says, const char *value);

/* Sets the list, which is empty. Returns 0, -ENOMEM, or -EINVAL with the fault written: `key` names the list.
 */
int name_list_read(struct pairs *pairs, struct name_list *list, const char *key, const char *value);

void name_list_deinit(struct name_list *list);
