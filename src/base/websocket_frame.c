/* SPDX-License-Identifier: MIT */
#include "base/websocket_frame.h"

#define FRAME_IS_FINAL 0x80u
#define FRAME_LEN_16 126u
#define FRAME_LEN_64 127u
#define FRAME_HEAD_MAX 10u

static size_t frame_write_head(char *to, enum websocket_opcode opcode, uint64_t len)
{
    const size_t extended = len < FRAME_LEN_16 ? 0 : len <= UINT16_MAX ? sizeof(uint16_t) : sizeof(uint64_t);
    to[0] = (char)(FRAME_IS_FINAL | (unsigned)opcode);
    to[1] = (char)(extended == 0 ? len : extended == sizeof(uint16_t) ? FRAME_LEN_16 : FRAME_LEN_64);
    for (size_t i = 0; i < extended; i++)
        to[2 + i] = (char)(len >> 8 * (extended - 1 - i));
    return 2 + extended;
}

void websocket_append_frame_head(struct buf *to, enum websocket_opcode opcode, uint64_t len)
{
    char head[FRAME_HEAD_MAX];
    buf_append(to, head, frame_write_head(head, opcode, len));
}

void websocket_begin_frame(struct buf *to, size_t at, enum websocket_opcode opcode, uint64_t more)
{
    char head[FRAME_HEAD_MAX];
    if (to->has_failed)
        return;
    buf_insert(to, at, head, frame_write_head(head, opcode, to->len - at + more));
}
