/* SPDX-License-Identifier: MIT */
#pragma once

/* What a WebSocket client sends: bytes in, messages out; the frames are read by libwslay. Pure but for its
 * memory; hostile input; one thread at a time.
 *
 * While no frame and no message is incomplete it owns no memory.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tables/closes.h"

struct wslay_frame_context;

enum input_kind {
    INPUT_NOTHING, /* all bytes are taken, and make no more than this */
    INPUT_MESSAGE,
    INPUT_PING,
    INPUT_PONG,
    INPUT_CLOSE,
    INPUT_FAILED, /* the connection has to be closed: nothing that follows can be understood */
};

struct input_event {
    enum input_kind kind;
    bool is_text; /* of a message */
    struct text
        bytes;     /* of a message, a ping, a pong; the reason of a close. Borrowed until the next call. */
    uint16_t code; /* of a close; 0 when there is none */
    enum close_reason reason; /* of a failure */
    const char *what;         /* the same, in words that live for ever; NULL: the row's */
};

struct input {
    struct wslay_frame_context *frames; /* NULL between two frames */
    struct text *source;                /* within input_read: what is still to be taken */
    uint64_t ahead;                     /* bytes that libwslay has, and has not told of */
    uint64_t seen;                      /* of the payload of the frame that is being read */
    struct buf message;                 /* of several frames, or of one that has not come whole */
    struct utf8 utf8;                   /* of the message, when it is text */
    uint32_t fragments;                 /* of the message; 0: none is being read */
    uint8_t opcode;                     /* of the message */
    uint8_t control_len;
    bool is_in_frame;
    char control[125]; /* of a control frame that has not come whole */
};

/* What is allowed. */
struct input_limits {
    uint64_t message_bytes;
    uint64_t fragments; /* of one message */
};

/* Takes bytes from the front of *bytes up to the next event and says in *event what it is. What libwslay has
 * taken ahead it keeps: to be called until there is INPUT_NOTHING, or a failure. */
void input_read(struct input *input, struct text *bytes, const struct input_limits *limits,
                struct input_event *event);

/* Keeps the bytes of a message that has just come, so that they outlive what was given to input_read. Returns
 * 0 or -ENOMEM.
 */
int input_keep(struct input *input, struct input_event *event);

void input_deinit(struct input *input);
