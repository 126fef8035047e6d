/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

#define BUF_CAPACITY_FIRST 256u

void buf_deinit(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}

static int buf_fail(struct buf *buf)
{
    buf->has_failed = true;
    return -ENOMEM;
}

int buf_reserve(struct buf *buf, size_t more)
{
    size_t needed;
    if (buf->has_failed || __builtin_add_overflow(buf->len, more, &needed))
        return buf_fail(buf);
    if (needed <= buf->capacity)
        return 0;
    size_t capacity = buf->capacity ? buf->capacity : BUF_CAPACITY_FIRST;
    while (capacity < needed)
        if (__builtin_mul_overflow(capacity, 2u, &capacity))
            return buf_fail(buf);
    char *bytes = realloc(buf->bytes, capacity);
    if (!bytes)
        return buf_fail(buf);
    buf->bytes = bytes;
    buf->capacity = capacity;
    return 0;
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0 || buf_reserve(buf, len))
        return;
    memcpy(buf->bytes + buf->len, bytes, len);
    buf->len += len;
}

void buf_insert(struct buf *buf, size_t at, const void *bytes, size_t len)
{
    if (len == 0 || buf_reserve(buf, len))
        return;
    memmove(buf->bytes + at + len, buf->bytes + at, buf->len - at);
    memcpy(buf->bytes + at, bytes, len);
    buf->len += len;
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_append_char(struct buf *buf, char byte)
{
    buf_append(buf, &byte, 1);
}

void buf_append_u64(struct buf *buf, uint64_t value)
{
    char digits[20];
    buf_append(buf, digits, number_format_u64(digits, value));
}

void buf_append_padding(struct buf *buf, size_t len)
{
    if (buf_reserve(buf, len))
        return;
    memset(buf->bytes + buf->len, ' ', len);
    buf->len += len;
}
