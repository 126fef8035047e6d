/* SPDX-License-Identifier: MIT */
/* Frames of raw TCP: the first byte is the framing, the second how large the pieces are in which they come.
 * However they are cut, the same frames are found. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/framing.h"

#define FUZZ_LIMIT 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    uint64_t frames;
    uint64_t bytes;
    uint64_t refused;
};

/* Reads what has come up to `len`; returns how many bytes are done with. */
static size_t fuzz_read(struct frame_reader *reader, enum framing framing, const char *bytes, size_t len,
                        struct tally *tally, int *is_broken)
{
    size_t done = 0;
    while (done < len && !*is_broken) {
        struct frame frame = {0};
        enum frame_result result = frame_read(reader, framing, bytes + done, len - done, FUZZ_LIMIT, &frame);
        if (result == FRAME_PARTIAL)
            break;
        if (result == FRAME_WHOLE) {
            if (frame.len > FUZZ_LIMIT || frame.size < frame.len || frame.bytes < bytes)
                abort();
            tally->frames++;
            tally->bytes += frame.len;
        }
        tally->refused += result == FRAME_TOO_LARGE || result == FRAME_BROKEN;
        *is_broken = result == FRAME_BROKEN;
        if (!*is_broken && (frame.size == 0 || frame.size > len - done))
            abort();
        done += frame.size;
    }
    return done;
}

static struct tally fuzz_run(enum framing framing, const char *bytes, size_t len, size_t piece)
{
    struct frame_reader reader = {0};
    struct tally tally = {0};
    size_t done = 0;
    int is_broken = 0;
    for (size_t end = piece < len ? piece : len;; end = len - end < piece ? len : end + piece) {
        done += fuzz_read(&reader, framing, bytes + done, end - done, &tally, &is_broken);
        if (end == len)
            return tally;
    }
}

/* What we send in a framing is read in it as the same. */
static void fuzz_send(enum framing framing, const char *bytes, size_t len)
{
    struct frame_reader reader = {0};
    struct frame frame;
    struct buf sent = {0};
    bool has_delimiter =
        framing != FRAMING_LEN32 && (memchr(bytes, framing == FRAMING_NUL ? '\0' : '\n', len) ||
                                     (framing == FRAMING_CRLF && memchr(bytes, '\r', len)));
    if (has_delimiter || len > FUZZ_LIMIT)
        return;
    frame_append(&sent, framing, bytes, len);
    if (sent.has_failed || frame_read(&reader, framing, sent.bytes, sent.len, len, &frame) != FRAME_WHOLE ||
        frame.size != sent.len || frame.len != len || memcmp(frame.bytes, bytes, len) != 0)
        abort();
    buf_deinit(&sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    const enum framing framing = (enum framing)(FRAMING_CRLF + data[0] % 3);
    struct tally whole = fuzz_run(framing, bytes, size - 2, size);
    struct tally cut = fuzz_run(framing, bytes, size - 2, data[1] % 16 + 1u);
    if (memcmp(&whole, &cut, sizeof(whole)) != 0)
        abort();
    fuzz_send(framing, bytes, size - 2);
    (void)framing_find_stranger(bytes, size - 2);
    (void)framing_detect(bytes, size - 2);
    return 0;
}
