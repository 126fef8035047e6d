/* SPDX-License-Identifier: MIT */
#pragma once

/* Where one thing that a client sends ends and the next begins. Bytes in, frames out, no socket; hostile
 * input; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum framing {
    FRAMING_AUTO, /* resp or crlf, as the first bytes show */
    FRAMING_CRLF,
    FRAMING_NUL,
    FRAMING_LEN32,
    FRAMING_RESP,
    FRAMING_COUNT
};

/* The words in a declaration. */
extern const char *const framing_words[FRAMING_COUNT];

/* The framing that a connection's first bytes show; FRAMING_AUTO when they are too few to tell. */
enum framing framing_detect(const char *bytes, size_t len);

/* Clients that have come to the wrong port. */
enum framing_stranger { STRANGER_NONE, STRANGER_HTTP, STRANGER_TLS };

/* Whether a connection's first bytes are a request line of HTTP or the greeting of TLS. */
enum framing_stranger framing_find_stranger(const char *bytes, size_t len);

/* Where a reader of frames stands between two looks; all zeros at first. */
struct frame_reader {
    uint32_t scanned; /* bytes of the frame without an end that have been looked at */
    bool is_skipping; /* the rest of a frame that was too large */
};

struct frame {
    const char *bytes;
    size_t len;
    size_t size; /* with what delimits it: bytes done with, also for FRAME_SKIPPED and FRAME_TOO_LARGE */
};

enum frame_result {
    FRAME_WHOLE,
    FRAME_PARTIAL,   /* there is no end yet */
    FRAME_SKIPPED,   /* `size` bytes of a frame that was too large */
    FRAME_TOO_LARGE, /* over the limit; `size` bytes of it are done with and what is left will be skipped */
    FRAME_BROKEN,    /* over the limit, and what follows cannot be found */
};

/* The next frame in crlf, nul or len32. The limit is of the frame without its delimiter. */
enum frame_result frame_read(struct frame_reader *reader, enum framing framing, const char *bytes, size_t len,
                             uint64_t limit, struct frame *frame);

/* Appends a frame in crlf, nul or len32; the text has no delimiter in it. */
void frame_append(struct buf *to, enum framing framing, const char *text, size_t len);
