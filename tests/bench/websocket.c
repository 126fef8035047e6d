/* SPDX-License-Identifier: MIT */
/* A WebSocket client that counts: what a server sends is not masked, and the masks of its own frames are
 * zeros, so that neither costs anything. */

#include <stdio.h>
#include <string.h>

#include "bench.h"

#define WEBSOCKET_OPCODE_MASK 0x0f
#define WEBSOCKET_TEXT 0x1
#define WEBSOCKET_BINARY 0x2
#define WEBSOCKET_PING 0x9
#define WEBSOCKET_FINAL 0x80
#define WEBSOCKET_MASKED 0x80
#define WEBSOCKET_SHORT_MOST 125u

size_t bench_write_subscribe_frame(char *frame, const char *channel)
{
    char command[WEBSOCKET_SHORT_MOST + 1];
    int len = snprintf(command, sizeof(command), "{\"op\":\"subscribe\",\"channel\":\"%s\"}", channel);
    const unsigned char head[6] = {WEBSOCKET_FINAL | WEBSOCKET_TEXT, (unsigned char)(WEBSOCKET_MASKED | len)};
    memcpy(frame, head, sizeof(head));
    memcpy(frame + sizeof(head), command, (size_t)len);
    return sizeof(head) + (size_t)len;
}

size_t bench_write_frame_head(char *head, size_t len)
{
    head[0] = (char)(WEBSOCKET_FINAL | WEBSOCKET_TEXT);
    if (len <= WEBSOCKET_SHORT_MOST) {
        head[1] = (char)len;
        return 2;
    }
    head[1] = 126;
    head[2] = (char)(len >> 8);
    head[3] = (char)len;
    return 4;
}

static unsigned websocket_head_size(const struct bench_frames *frames)
{
    unsigned size = frames->head_len < 2 ? 0 : frames->head[1];
    return size == 127 ? 10 : size == 126 ? 4 : 2;
}

/* The head is whole. */
static void websocket_begin(struct bench_frames *frames)
{
    unsigned opcode = frames->head[0] & WEBSOCKET_OPCODE_MASK;
    frames->is_data = opcode == WEBSOCKET_TEXT || opcode == WEBSOCKET_BINARY;
    if (!frames->is_data && opcode != WEBSOCKET_PING)
        bench_fail("a frame with the opcode %u", opcode);
    if (!(frames->head[0] & WEBSOCKET_FINAL) || (frames->head[1] & WEBSOCKET_MASKED))
        bench_fail("a frame that is masked, or part of a message");
    frames->left = frames->head_len == 2 ? frames->head[1] : 0;
    for (unsigned i = 2; i < frames->head_len; i++)
        frames->left = frames->left << 8 | frames->head[i];
    frames->count += frames->is_data;
    frames->head_len = 0;
}

unsigned bench_count_in_frames(struct bench_frames *frames, const char *bytes, size_t len)
{
    unsigned count = 0;
    while (len > 0) {
        if (frames->left == 0) {
            frames->head[frames->head_len++] = (unsigned char)*bytes++;
            len--;
            if (frames->head_len >= 2 && frames->head_len == websocket_head_size(frames))
                websocket_begin(frames);
            continue;
        }
        size_t part = len < frames->left ? len : (size_t)frames->left;
        if (frames->is_data)
            count += bench_count_marks(bytes, part);
        frames->left -= part;
        bytes += part;
        len -= part;
    }
    return count;
}
