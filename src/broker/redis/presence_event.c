/* SPDX-License-Identifier: MIT */
#include "broker/redis/presence_event.h"

#include <errno.h>
#include <string.h>

#include "base/container.h"
#include "base/json_scan.h"
#include "base/number.h"
#include "core/message.h"

static const char presence_event_mark[] = "presence1 ";

int presence_event_parse(struct presence_event *event, const char *bytes, size_t len)
{
    static const char *const words[] = {"join",     "leave",   "update", "created",
                                        "occupied", "vacated", "purged"};
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
