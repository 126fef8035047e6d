/* SPDX-License-Identifier: MIT */
#pragma once

/* The chunked coding of a request body (RFC 9112, section 7.1), strictly: lines end with CRLF, a size has at
 * most 15 digits, extensions and trailers are bounded and dropped. Takes bytes, owns no socket; hostile
 * input.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum chunks_state {
    CHUNKS_SIZE,
    CHUNKS_EXTENSION,
    CHUNKS_SIZE_END, /* the LF of a size's line */
    CHUNKS_DATA,
    CHUNKS_DATA_CR,
    CHUNKS_DATA_LF,
    CHUNKS_TRAILER_BEGIN,
    CHUNKS_TRAILER,
    CHUNKS_TRAILER_LF,
    CHUNKS_END_LF,
    CHUNKS_DONE,
};

/* All zeros is a body that has not begun. */
struct chunks {
    enum chunks_state state;
    uint32_t digits;  /* of the size */
    uint32_t skipped; /* bytes of extensions and trailers */
    uint64_t left;    /* of the chunk */
};

/* Takes some of the bytes: up to the end of a run of data, or of the body, or all of them. Returns how many,
 * or -EINVAL. The run of data among them is at *data, of *data_len, which may be 0. */
ssize_t chunks_read(struct chunks *chunks, const char *bytes, size_t len, const char **data,
                    size_t *data_len);

static inline bool chunks_are_done(const struct chunks *chunks)
{
    return chunks->state == CHUNKS_DONE;
}
