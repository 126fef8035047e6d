/* SPDX-License-Identifier: MIT */
#pragma once

/* The head of a WebSocket frame as a server sends it: whole messages, not masked (RFC 6455, section 5.2). Any
 * thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0x0,
    WEBSOCKET_TEXT = 0x1,
    WEBSOCKET_BINARY = 0x2,
    WEBSOCKET_CLOSE = 0x8,
    WEBSOCKET_PING = 0x9,
    WEBSOCKET_PONG = 0xa,
};

/* Appends the head of a frame of `len` bytes. */
void websocket_append_frame_head(struct buf *to, enum websocket_opcode opcode, uint64_t len);

/* Puts the head of a frame before what stands in a buffer from `at` on, with `more` bytes that follow it. */
void websocket_begin_frame(struct buf *to, size_t at, enum websocket_opcode opcode, uint64_t more);
