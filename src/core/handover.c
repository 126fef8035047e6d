/* SPDX-License-Identifier: MIT */
#include "core/handover.h"

#include <errno.h>
#include <string.h>

/* Length, and kind. */
#define HANDOVER_HEAD_BYTES 5u

static const struct {
    uint8_t numbers;
    uint8_t texts;
} handover_fields[HANDOVER_KINDS] = {
    [HANDOVER_SOCKET] = {3, 2}, [HANDOVER_SOCKETS] = {0, 0},    [HANDOVER_HEAD] = {1, 1},
    [HANDOVER_LOG] = {3, 2},    [HANDOVER_MESSAGE] = {5, 5},    [HANDOVER_ENTRY] = {3, 1},
    [HANDOVER_KEY] = {3, 1},    [HANDOVER_REVOCATION] = {0, 1}, [HANDOVER_ROOM] = {2, 1},
    [HANDOVER_MEMBER] = {3, 2}, [HANDOVER_END] = {2, 0},        [HANDOVER_GO] = {0, 0},
    [HANDOVER_READY] = {1, 0},  [HANDOVER_LOADED] = {1, 1},     [HANDOVER_PLACE] = {3, 0},
    [HANDOVER_CLIENT] = {2, 2},
};

/* Both processes run on the same machine: numbers are as it has them. */
void handover_append(struct buf *to, const struct handover *record)
{
    const uint8_t kind = (uint8_t)record->kind;
    const size_t numbers = handover_fields[kind].numbers * sizeof(uint64_t);
    uint32_t len = (uint32_t)(HANDOVER_HEAD_BYTES + numbers);
    for (unsigned i = 0; i < handover_fields[kind].texts; i++)
        len += (uint32_t)(sizeof(uint32_t) + record->texts[i].len);
    if (buf_reserve(to, len))
        return;
    buf_append(to, &len, sizeof(len));
    buf_append(to, &kind, sizeof(kind));
    buf_append(to, record->numbers, numbers);
    for (unsigned i = 0; i < handover_fields[kind].texts; i++) {
        const uint32_t text_len = (uint32_t)record->texts[i].len;
        buf_append(to, &text_len, sizeof(text_len));
        if (text_len > 0)
            buf_append(to, record->texts[i].bytes, text_len);
    }
}

/* Takes the text that `rest` begins with. Returns whether there is one. */
static bool handover_take_text(struct text *text, struct text *rest)
{
    uint32_t len;
    if (rest->len < sizeof(len))
        return false;
    memcpy(&len, rest->bytes, sizeof(len));
    *rest = text_behind(*rest, sizeof(len));
    if (rest->len < len)
        return false;
    *text = (struct text){rest->bytes, len};
    *rest = text_behind(*rest, len);
    return true;
}

ssize_t handover_parse(struct handover *record, const char *bytes, size_t len)
{
    uint32_t whole;
    if (len < sizeof(whole))
        return 0;
    memcpy(&whole, bytes, sizeof(whole));
    if (whole < HANDOVER_HEAD_BYTES || whole > HANDOVER_RECORD_MAX)
        return -EINVAL;
    if (len < whole)
        return 0;
    const uint8_t kind = (uint8_t)bytes[sizeof(whole)];
    struct text rest = {bytes + HANDOVER_HEAD_BYTES, whole - HANDOVER_HEAD_BYTES};
    if (kind >= HANDOVER_KINDS)
        return -EINVAL;
    const size_t numbers = handover_fields[kind].numbers * sizeof(uint64_t);
    if (rest.len < numbers)
        return -EINVAL;
    *record = (struct handover){.kind = (enum handover_kind)kind};
    memcpy(record->numbers, rest.bytes, numbers);
    rest = text_behind(rest, numbers);
    for (unsigned i = 0; i < handover_fields[kind].texts; i++)
        if (!handover_take_text(&record->texts[i], &rest))
            return -EINVAL;
    return rest.len == 0 ? (ssize_t)whole : -EINVAL;
}
