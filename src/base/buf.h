/* SPDX-License-Identifier: MIT */
#pragma once

/* A growing run of bytes. A failed allocation is remembered, so that a series of appends is checked once, at
 * its end. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *bytes;
    size_t len;
    size_t capacity;
    bool has_failed; /* memory ran out; what is there is not whole */
};

/* All zeros is an empty buffer. */
void buf_deinit(struct buf *buf);

/* Makes room for `more` bytes behind the length. Returns 0 or -ENOMEM. */
int buf_reserve(struct buf *buf, size_t more);

void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_char(struct buf *buf, char byte);
void buf_append_u64(struct buf *buf, uint64_t value);
void buf_append_padding(struct buf *buf, size_t len); /* spaces */

/* Puts bytes before what stands from `at` on. */
void buf_insert(struct buf *buf, size_t at, const void *bytes, size_t len);
