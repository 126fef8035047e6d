/* SPDX-License-Identifier: MIT */
#include "check_network/way.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

void way_init(struct way *way, const char *name, const char *mark)
{
    *way = (struct way){.name = name, .mark = mark};
}

void way_deinit(struct way *way)
{
    buf_deinit(&way->pending);
}

void way_make_mark(char to[WAY_MARK_MAX], const char *mark, unsigned number)
{
    snprintf(to, WAY_MARK_MAX, "%s%u.", mark, number);
}

static void way_count(struct way *way, uint64_t number, uint64_t now_ns)
{
    if (number >= WAY_MESSAGES_MAX)
        return;
    if (way->received_ns[number])
        way->doubled++;
    else
        way->received_ns[number] = now_ns;
}

/* Counts the marks from `at` on. Returns where one may have begun that is not whole yet. */
static const char *way_search(struct way *way, const char *at, const char *end, uint64_t now_ns)
{
    size_t prefix = strlen(way->mark);
    for (;;) {
        const char *mark = memmem(at, (size_t)(end - at), way->mark, prefix);
        if (!mark)
            return (size_t)(end - at) < prefix ? at : end - prefix + 1;
        const char *digits = mark + prefix;
        const char *stop = memchr(digits, '.', (size_t)(end - digits));
        uint64_t number;
        if (!stop && end - mark < (ptrdiff_t)WAY_MARK_MAX)
            return mark;
        if (stop && number_parse_u64(&number, digits, (size_t)(stop - digits)) == 0)
            way_count(way, number, now_ns);
        at = digits;
    }
}

void way_take(struct way *way, const char *bytes, size_t len, uint64_t now_ns)
{
    struct buf *pending = &way->pending;
    buf_append(pending, bytes, len);
    if (pending->has_failed || pending->len == 0)
        return;
    const char *end = pending->bytes + pending->len;
    const char *rest = way_search(way, pending->bytes, end, now_ns);
    pending->len = (size_t)(end - rest);
    memmove(pending->bytes, rest, pending->len);
}

void way_end(struct way *way, uint64_t now_ns, const char *format, ...)
{
    va_list arguments;
    if (way->ended_ns)
        return;
    way->ended_ns = now_ns;
    va_start(arguments, format);
    vsnprintf(way->fault, sizeof(way->fault), format, arguments);
    va_end(arguments);
}
