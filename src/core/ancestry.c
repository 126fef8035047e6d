/* SPDX-License-Identifier: MIT */
#include "core/ancestry.h"

#include <errno.h>
#include <string.h>

#include "core/cursor.h"

void ancestry_add(struct ancestry *ancestry, const struct forebear *forebear)
{
    if (ancestry->count < ANCESTRY_MAX)
        ancestry->count++;
    memmove(&ancestry->forebears[1], &ancestry->forebears[0],
            (ancestry->count - 1) * sizeof(ancestry->forebears[0]));
    ancestry->forebears[0] = *forebear;
    for (unsigned i = 1; i < ancestry->count; i++) {
        struct forebear *elder = &ancestry->forebears[i];
        elder->is_doubtful |= forebear->is_doubtful;
        if (elder->shared > forebear->shared)
            elder->shared = forebear->shared;
    }
}

const struct forebear *ancestry_find(const struct ancestry *ancestry, const struct epoch *epoch)
{
    for (unsigned i = 0; i < ancestry->count; i++)
        if (epoch_equals(&ancestry->forebears[i].epoch, epoch))
            return &ancestry->forebears[i];
    return NULL;
}

static int forebear_parse(struct forebear *forebear, const char *word, size_t len)
{
    struct position position = {.offset = 0};
    bool is_doubtful = len == EPOCH_LEN;
    if (is_doubtful ? epoch_parse(&position.epoch, word) : position_parse(&position, word, len))
        return -EINVAL;
    *forebear = (struct forebear){position.epoch, is_doubtful, position.offset};
    return 0;
}

int ancestry_parse(struct ancestry *ancestry, const char *text, size_t len)
{
    ancestry->count = 0;
    if (len == 0)
        return 0;
    for (;;) {
        const char *space = memchr(text, ' ', len);
        size_t word_len = space ? (size_t)(space - text) : len;
        if (ancestry->count == ANCESTRY_MAX ||
            forebear_parse(&ancestry->forebears[ancestry->count], text, word_len))
            return -EINVAL;
        ancestry->count++;
        if (!space)
            return 0;
        text = space + 1;
        len -= word_len + 1;
    }
}

size_t ancestry_format(char *to, const struct ancestry *ancestry)
{
    size_t len = 0;
    for (unsigned i = 0; i < ancestry->count; i++) {
        const struct forebear *forebear = &ancestry->forebears[i];
        if (i > 0)
            to[len++] = ' ';
        size_t id_len = position_format(to + len, &forebear->epoch, forebear->shared);
        len += forebear->is_doubtful ? EPOCH_LEN : id_len;
    }
    return len;
}
