/* SPDX-License-Identifier: MIT */
#pragma once

/* What a WebSocket client sends: bytes in, messages out (RFC 6455, section 5); the frames are read by
 * libwslay. Pure but for its memory; hostile input; one thread at a time.
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

/* The longest head of a frame: two bytes, the length, the mask. */
#define INPUT_HEAD_MAX 14u

enum input_kind {
    INPUT_NOTHING, /* all bytes are taken, and no more comes of them */
    INPUT_MESSAGE,
    INPUT_PING,
    INPUT_PONG,
    INPUT_CLOSE,
    INPUT_FAILED, /* the connection is to be closed: what follows cannot be understood, and is not to be read
                   */
};

struct input_event {
    enum input_kind kind;
    bool is_text;             /* of a message */
    struct text bytes;        /* of a message, a ping, a pong; the reason of a close. Until the next call. */
    uint16_t code;            /* of a close; 0 when it has none */
    enum close_reason reason; /* of a failure */
    const char *what;         /* of a failure, for ever; NULL: in the words of the reason */
};

/* What is allowed. */
struct input_limits {
    uint64_t message_bytes;
    uint64_t fragments; /* frames of one message */
};

/* All zeros is the beginning of a connection. */
struct input {
    struct wslay_frame_context *frames; /* NULL between two frames */
    struct text *source;                /* within input_read: what is still to be taken */
    uint64_t ahead;                     /* bytes that libwslay has and has not told of */
    uint8_t latest[INPUT_HEAD_MAX];     /* that it was given, the last one at the end */
    uint64_t seen;                      /* of the payload of the frame that is being read */
    struct buf message;                 /* unless it has come in one piece */
    struct buf control;                 /* the same, of a control frame */
    uint64_t fragments;                 /* of the message that is being read; 0 when there is none */
    struct utf8 utf8;                   /* of the message, when it is text; whole between two */
    bool is_text;                       /* the message is, or the last one was */
    bool is_in_frame;
};

/* Takes bytes from the front of *bytes up to the next event. What libwslay has taken ahead stays with it: to
 * be called until there is nothing or a failure, later also with no bytes at all. */
void input_read(struct input *input, struct text *bytes, const struct input_limits *limits,
                struct input_event *event);

/* Whether a frame or a message is there that is not whole, after there was nothing. */
static inline bool input_is_partial(const struct input *input)
{
    return input->frames != NULL || input->fragments > 0;
}

/* Keeps the message of the last event, so that it outlives the bytes that it came in. Returns 0 or -ENOMEM.
 */
int input_keep(struct input *input, const struct input_event *event);

/* The message that was kept; until the next input_read. */
struct input_event input_kept(const struct input *input);

void input_deinit(struct input *input);
