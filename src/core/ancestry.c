/* SPDX-License-Identifier: MIT */
#include "core/ancestry.h"

#include <errno.h>
#include <string.h>

#include "base/number.h"

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
    *forebear = (struct forebear){.is_doubtful = len == EPOCH_LEN};
    if (len < EPOCH_LEN || epoch_parse(&forebear->epoch, word))
        return -EINVAL;
    if (forebear->is_doubtful)
        return 0;
    return word[EPOCH_LEN] == '-'
               ? number_parse_u64(&forebear->shared, word + EPOCH_LEN + 1, len - EPOCH_LEN - 1)
               : -EINVAL;
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
        memcpy(to + len, forebear->epoch.text, EPOCH_LEN);
        len += EPOCH_LEN;
        if (forebear->is_doubtful)
            continue;
        to[len++] = '-';
        len += number_format_u64(to + len, forebear->shared);
    }
    return len;
}
