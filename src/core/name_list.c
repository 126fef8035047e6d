/* SPDX-License-Identifier: MIT */
#include "core/name_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int channel_name_read(struct pairs *pairs, struct channel_name *to, const char *name, size_t len)
{
    const char *why = channel_name_fault(name, len);
    if (why)
        return pairs_fail(pairs, "a channel name %s", why);
    to->len = (uint8_t)len;
    memcpy(to->text, name, len);
    to->text[len] = '\0';
    return 0;
}

static bool name_list_has(const struct name_list *list, struct text name)
{
    for (unsigned i = 0; i < list->count; i++)
        if (text_equals(channel_name_text(&list->names[i]), name))
            return true;
    return false;
}

int channel_or_word_read(struct pairs *pairs, unsigned *index, struct channel_name *publish_to,
                         const char *const *words, unsigned count, const char *says, const char *value)
{
    static const char publish[] = "publish:";
    const struct text text = text_of(value);
    const struct text name = text_behind(text, text_begins(text, publish) ? strlen(publish) : 0);
    *index = name.len < text.len ? count : (unsigned)text_index(text, words, count);
    if (name.len < text.len)
        return channel_name_read(pairs, publish_to, name.bytes, name.len);
    return *index < count ? 0 : pairs_fail(pairs, "%s, not '%.100s'", says, value);
}

int name_list_read(struct pairs *pairs, struct name_list *list, const char *key, const char *value)
{
    while (*value) {
        size_t len = strcspn(value, ",");
        if (name_list_has(list, (struct text){value, len}))
            return pairs_fail(pairs, "%s names a channel twice: %.200s", key, value);
        if (list->count == NAME_LIST_MAX)
            return pairs_fail(pairs, "%s names more than %u channels", key, NAME_LIST_MAX);
        struct channel_name *names = realloc(list->names, (list->count + 1) * sizeof(*names));
        if (!names)
            return -ENOMEM;
        list->names = names;
        int err = channel_name_read(pairs, &names[list->count], value, len);
        if (err)
            return err;
        list->count++;
        value += len;
        value += *value == ',';
    }
    return 0;
}

void name_list_deinit(struct name_list *list)
{
    free(list->names);
    *list = (struct name_list){0};
}
