/* SPDX-License-Identifier: MIT */
#include "http/chunks.h"

#include <errno.h>

#include "base/number.h"

#define CHUNKS_DIGITS_MAX 15u
#define CHUNKS_SKIPPED_MAX 8192u

static int chunks_read_size(struct chunks *chunks, char byte)
{
    int digit = number_parse_hex_digit(byte);
    if (digit >= 0) {
        chunks->left = chunks->left << 4 | (unsigned)digit;
        return ++chunks->digits <= CHUNKS_DIGITS_MAX ? 0 : -EINVAL;
    }
    if (chunks->digits == 0)
        return -EINVAL;
    if (byte == '\r')
        chunks->state = CHUNKS_SIZE_END;
    else if (byte == ';' || byte == ' ' || byte == '\t')
        chunks->state = CHUNKS_EXTENSION;
    else
        return -EINVAL;
    return 0;
}

/* A byte of an extension or a trailer, which CR ends. */
static int chunks_skip(struct chunks *chunks, char byte, enum chunks_state at_end)
{
    chunks->state = byte == '\r' ? at_end : chunks->state;
    bool is_control = ((unsigned char)byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f;
    return ++chunks->skipped > CHUNKS_SKIPPED_MAX || is_control ? -EINVAL : 0;
}

static int chunks_expect(struct chunks *chunks, char byte, char wanted, enum chunks_state next)
{
    chunks->state = next;
    return byte == wanted ? 0 : -EINVAL;
}

static int chunks_end_size(struct chunks *chunks, char byte)
{
    chunks->digits = 0;
    return chunks_expect(chunks, byte, '\n', chunks->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER_BEGIN);
}

/* One byte that is no data. */
static int chunks_step(struct chunks *chunks, char byte)
{
    switch (chunks->state) {
    case CHUNKS_SIZE:
        return chunks_read_size(chunks, byte);
    case CHUNKS_EXTENSION:
        return chunks_skip(chunks, byte, CHUNKS_SIZE_END);
    case CHUNKS_SIZE_END:
        return chunks_end_size(chunks, byte);
    case CHUNKS_DATA_CR:
        return chunks_expect(chunks, byte, '\r', CHUNKS_DATA_LF);
    case CHUNKS_DATA_LF:
        return chunks_expect(chunks, byte, '\n', CHUNKS_SIZE);
    case CHUNKS_TRAILER_BEGIN:
        if (byte == '\r')
            return chunks_expect(chunks, byte, '\r', CHUNKS_END_LF);
        chunks->state = CHUNKS_TRAILER;
        return chunks_skip(chunks, byte, CHUNKS_TRAILER_LF);
    case CHUNKS_TRAILER:
        return chunks_skip(chunks, byte, CHUNKS_TRAILER_LF);
    case CHUNKS_TRAILER_LF:
        return chunks_expect(chunks, byte, '\n', CHUNKS_TRAILER_BEGIN);
    case CHUNKS_END_LF:
        return chunks_expect(chunks, byte, '\n', CHUNKS_DONE);
    case CHUNKS_DATA:
    case CHUNKS_DONE:
        break;
    }
    return -EINVAL;
}

ssize_t chunks_read(struct chunks *chunks, const char *bytes, size_t len, const char **data, size_t *data_len)
{
    size_t at = 0;
    *data_len = 0;
    while (at < len && chunks->state != CHUNKS_DATA && chunks->state != CHUNKS_DONE)
        if (chunks_step(chunks, bytes[at++]))
            return -EINVAL;
    *data = bytes + at;
    if (chunks->state != CHUNKS_DATA || at == len)
        return (ssize_t)at;
    *data_len = chunks->left < len - at ? (size_t)chunks->left : len - at;
    chunks->left -= *data_len;
    if (chunks->left == 0)
        chunks->state = CHUNKS_DATA_CR;
    return (ssize_t)(at + *data_len);
}
