/* SPDX-License-Identifier: MIT */
#include "broker/redis/presence_event.h"

#include <errno.h>
#include <string.h>

#include "base/container.h"
#include "base/json_scan.h"
#include "base/number.h"
#include "core/message.h"
#include "core/names.h"

static const char presence_event_mark[] = "presence1 ";

int presence_event_parse(struct presence_event *event, const char *bytes, size_t len)
{
    static const char *const words[] = {"join",     "leave",   "update", "created",
                                        "occupied", "vacated", "purged", "forgotten"};
    const size_t mark = sizeof(presence_event_mark) - 1;
    char fault[JSON_FAULT_MAX];
    uint64_t time_ms;
    if (len < mark || memcmp(bytes, presence_event_mark, mark) != 0)
        return -ENOENT;
    const char *begin = bytes + mark;
    const char *line = memchr(begin, '\n', len - mark);
    const char *space = line ? memchr(begin, ' ', (size_t)(line - begin)) : NULL;
    if (!space || len > MESSAGE_SIZE_MAX)
        return -EINVAL;
    event->word = (struct text){begin, (size_t)(space - begin)};
    event->json = (struct text){line + 1, (size_t)(bytes + len - line - 1)};
    if (text_index(event->word, words, ARRAY_LENGTH(words)) == ARRAY_LENGTH(words) ||
        number_parse_u64(&time_ms, space + 1, (size_t)(line - space - 1)) || time_ms > INT64_MAX ||
        json_scan(&event->json, event->json.bytes, event->json.len, fault))
        return -EINVAL;
    event->time_ms = (int64_t)time_ms;
    return 0;
}

/* 10^16 microseconds are some 300 years, and are exact in Lua. */
static bool life_event_is_time(struct text digits)
{
    uint64_t value;
    return digits.len <= 16 && number_parse_u64(&value, digits.bytes, digits.len) == 0;
}

int life_event_parse(struct life_event *event, struct text text)
{
    static const char *const words[] = {"created", "purged", "known"};
    struct text rest = text;
    if (!text_equals(text_cut(&rest, ' '), text_of("life1")))
        return -EINVAL;
    const struct text word = text_cut(&rest, ' ');
    event->text = rest;
    const struct text stamp = text_cut(&rest, ' ');
    const struct text ends = text_cut(&rest, ' ');
    if (text_index(word, words, ARRAY_LENGTH(words)) == ARRAY_LENGTH(words) || !life_event_is_time(stamp) ||
        !life_event_is_time(ends) || !channel_name_is_valid(rest.bytes, rest.len) ||
        channel_name_is_reserved(rest))
        return -EINVAL;
    event->kind = word.bytes[0];
    event->name = rest;
    return 0;
}
