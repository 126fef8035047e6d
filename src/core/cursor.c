/* SPDX-License-Identifier: MIT */
#include "core/cursor.h"

#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"

#define START_LAST_PREFIX "last="

int position_parse(struct position *position, const char *text, size_t len)
{
    if (len < EPOCH_LEN + 2 || len > POSITION_TEXT_MAX || text[EPOCH_LEN] != '-')
        return -EINVAL;
    if (epoch_parse(&position->epoch, text))
        return -EINVAL;
    return number_parse_u64(&position->offset, text + EPOCH_LEN + 1, len - EPOCH_LEN - 1) ? -EINVAL : 0;
}

/* The length without the mark and the number behind it. */
static size_t start_skip_mark(const char *text, size_t len)
{
    const char *mark = memchr(text, CURSOR_MARK, len);
    uint64_t number;
    if (!mark || number_parse_u64(&number, mark + 1, (size_t)(text + len - mark) - 1))
        return len;
    return (size_t)(mark - text);
}

static int start_parse_cursor(struct start *start, const char *text, size_t len)
{
    unsigned channels = 0;
    len = start_skip_mark(text, len);
    start->kind = START_CURSOR;
    for (;;) {
        const char *dot = memchr(text, '.', len);
        size_t entry_len = dot ? (size_t)(dot - text) : len;
        if (start->count == CURSOR_ENTRIES_MAX)
            return -E2BIG;
        int err = position_parse(&start->at[start->count], text, entry_len);
        if (err)
            return err;
        channels += !epoch_is_of_name(&start->at[start->count++].epoch);
        if (channels > CURSOR_CHANNELS_MAX)
            return -E2BIG;
        if (!dot)
            return 0;
        text = dot + 1;
        len -= entry_len + 1;
    }
}

int start_parse(struct start *start, const char *text, size_t len)
{
    const struct text whole = {text, len};
    const size_t prefix_len = strlen(START_LAST_PREFIX);
    start->count = 0;
    start->last = 0;
    start->kind = START_NOW;
    if (text_is(whole, "now"))
        return 0;
    if (text_is(whole, "earliest")) {
        start->kind = START_EARLIEST;
        return 0;
    }
    if (text_begins(whole, START_LAST_PREFIX) && len > prefix_len) {
        start->kind = START_LAST;
        return number_parse_u64(&start->last, text + prefix_len, len - prefix_len) ? -EINVAL : 0;
    }
    return start_parse_cursor(start, text, len);
}

const struct position *start_find(const struct start *start, const struct epoch *epoch)
{
    const struct position *same_name = NULL;
    for (unsigned i = 0; i < start->count; i++) {
        if (epoch_equals(&start->at[i].epoch, epoch))
            return &start->at[i];
        if (!same_name && epoch_has_same_name(&start->at[i].epoch, epoch))
            same_name = &start->at[i];
    }
    return same_name;
}

size_t position_format(char *to, const struct epoch *epoch, uint64_t offset)
{
    memcpy(to, epoch->text, EPOCH_LEN);
    to[EPOCH_LEN] = '-';
    return EPOCH_LEN + 1 + number_format_u64(to + EPOCH_LEN + 1, offset);
}
