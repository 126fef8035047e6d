/* SPDX-License-Identifier: MIT */
#include "websocket/input.h"

#include <errno.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/websocket_frame.h"

/* The payload of a control frame (RFC 6455, section 5.5). */
#define INPUT_CONTROL_MAX 125u
#define INPUT_MASK_BYTES 4u

/* Reading the frames. */

static void input_note(struct input *input, const char *bytes, size_t len)
{
    size_t kept = len < INPUT_HEAD_MAX ? len : INPUT_HEAD_MAX;
    memmove(input->latest, input->latest + kept, INPUT_HEAD_MAX - kept);
    memcpy(input->latest + INPUT_HEAD_MAX - kept, bytes + len - kept, kept);
}

/* libwslay asks for as much as it has room for. */
static ssize_t input_give(uint8_t *to, size_t size, int flags, void *context)
{
    struct input *input = context;
    struct text *source = input->source;
    size_t len = source->len < size ? source->len : size;
    (void)flags;
    memcpy(to, source->bytes, len);
    input_note(input, source->bytes, len);
    *source = text_behind(*source, len);
    input->ahead += len;
    return len > 0 ? (ssize_t)len : -1;
}

static int input_begin_frame(struct input *input)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = input_give};
    return input->frames || wslay_frame_context_init(&input->frames, &callbacks, input) == 0 ? 0 : -ENOMEM;
}

static void input_drop_frames(struct input *input)
{
    if (input->frames)
        wslay_frame_context_free(input->frames);
    input->frames = NULL;
}

/* libwslay refuses a length that could have been written shorter. */
static size_t input_head_bytes(uint64_t payload_len)
{
    return 2 + INPUT_MASK_BYTES + (payload_len > UINT16_MAX ? 8 : payload_len > INPUT_CONTROL_MAX ? 2 : 0);
}

/* Events. */

static void input_fail(struct input_event *event, enum close_reason reason, const char *what)
{
    *event = (struct input_event){.kind = INPUT_FAILED, .reason = reason, .what = what};
}

/* Codes that may stand in a frame (RFC 6455, section 7.4, and the registry). */
static bool input_code_is_valid(unsigned code)
{
    bool is_registered = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
    return is_registered || (code >= 3000 && code <= 4999);
}

static void input_take_close(struct text payload, struct input_event *event)
{
    if (payload.len == 0) {
        event->kind = INPUT_CLOSE;
        return;
    }
    const uint8_t *bytes = (const uint8_t *)payload.bytes;
    unsigned code = payload.len > 1 ? (unsigned)bytes[0] << 8 | bytes[1] : 0;
    if (!input_code_is_valid(code)) {
        input_fail(event, CLOSE_PROTOCOL, "a close frame has no code, or one that may not be sent");
    } else if (!text_is_utf8(payload.bytes + 2, payload.len - 2, NULL)) {
        input_fail(event, CLOSE_BAD_TEXT, "the reason of a close frame is not UTF-8");
    } else {
        event->kind = INPUT_CLOSE;
        event->code = (uint16_t)code;
        event->bytes = text_behind(payload, 2);
    }
}

static void input_take_control(struct input *input, const struct wslay_frame_iocb *frame,
                               struct input_event *event)
{
    struct text payload = {(const char *)frame->data, frame->data_length};
    if (input->control.len > 0 || input->is_in_frame) {
        buf_append(&input->control, frame->data, frame->data_length);
        payload = (struct text){input->control.bytes, input->control.len};
    }
    if (input->control.has_failed)
        input_fail(event, CLOSE_TRY_LATER, NULL);
    else if (input->is_in_frame)
        return;
    else if (frame->opcode == WEBSOCKET_CLOSE)
        input_take_close(payload, event);
    else
        *event = (struct input_event){.kind = frame->opcode == WEBSOCKET_PING ? INPUT_PING : INPUT_PONG,
                                      .bytes = payload};
}

static void input_take_data(struct input *input, const struct wslay_frame_iocb *frame,
                            struct input_event *event)
{
    const char *bytes = (const char *)frame->data;
    bool is_last = frame->fin && !input->is_in_frame;
    bool is_one_piece = is_last && input->message.len == 0;
    if (input->is_text &&
        (!utf8_take(&input->utf8, bytes, frame->data_length) || (is_last && !utf8_is_whole(&input->utf8)))) {
        input_fail(event, CLOSE_BAD_TEXT, "a text message is not UTF-8");
        return;
    }
    if (!is_one_piece)
        buf_append(&input->message, bytes, frame->data_length);
    if (input->message.has_failed) {
        input_fail(event, CLOSE_TRY_LATER, NULL);
    } else if (is_last) {
        input->fragments = 0;
        *event = input_kept(input);
        if (is_one_piece)
            event->bytes = (struct text){bytes, frame->data_length};
    }
}

/* What is wrong with a frame that begins; NULL when nothing is. */
static const char *input_frame_fault(const struct input *input, const struct wslay_frame_iocb *frame)
{
    bool is_continued = input->fragments > 0;
    if (!frame->mask)
        return "frames of a client have to be masked";
    if (frame->rsv != WSLAY_RSV_NONE)
        return "a reserved bit is set, and no extension was agreed on";
    switch (frame->opcode) {
    case WEBSOCKET_CONTINUATION:
        return is_continued ? NULL : "a message is continued that has not begun";
    case WEBSOCKET_TEXT:
    case WEBSOCKET_BINARY:
        return is_continued ? "a message begins within another" : NULL;
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        return frame->fin && frame->payload_length <= INPUT_CONTROL_MAX
                   ? NULL
                   : "a control frame is too long or in fragments";
    default:
        return "there is no such opcode";
    }
}

/* Refuses what may not be read. */
static void input_check(const struct input *input, const struct wslay_frame_iocb *frame,
                        const struct input_limits *limits, struct input_event *event)
{
    const char *fault = input_frame_fault(input, frame);
    if (fault)
        input_fail(event, CLOSE_PROTOCOL, fault);
    else if (wslay_is_ctrl_frame(frame->opcode))
        return;
    else if (frame->payload_length > limits->message_bytes ||
             input->message.len > limits->message_bytes - frame->payload_length)
        input_fail(event, CLOSE_TOO_LARGE, NULL);
    else if (input->fragments >= limits->fragments)
        input_fail(event, CLOSE_TOO_FRAGMENTED, NULL);
}

/* libwslay tells of a frame with the first byte of its payload. What may not be read is refused before, when
 * its head is whole: no payload of it may ever come. */
static void input_check_head(const struct input *input, const struct input_limits *limits,
                             struct input_event *event)
{
    const uint8_t *head = input->latest + INPUT_HEAD_MAX - input->ahead;
    unsigned length = input->ahead > 1 ? head[1] & 0x7fu : 0;
    size_t extended = length < 126 ? 0 : length == 126 ? 2 : 8;
    bool is_masked = input->ahead > 1 && head[1] & 0x80u;
    struct wslay_frame_iocb frame = {.mask = is_masked};
    if (input->ahead < 2 + extended + (is_masked ? INPUT_MASK_BYTES : 0))
        return;
    frame.fin = head[0] >> 7;
    frame.rsv = head[0] >> 4 & 7u;
    frame.opcode = head[0] & 0xfu;
    frame.payload_length = extended == 0 ? length : 0;
    for (size_t i = 0; i < extended; i++)
        frame.payload_length = frame.payload_length << 8 | head[2 + i];
    input_check(input, &frame, limits, event);
}

/* Returns whether the frame may be read. */
static bool input_begin(struct input *input, const struct wslay_frame_iocb *frame,
                        const struct input_limits *limits, struct input_event *event)
{
    input_check(input, frame, limits, event);
    if (event->kind != INPUT_NOTHING)
        return false;
    if (wslay_is_ctrl_frame(frame->opcode)) {
        buf_deinit(&input->control);
        return true;
    }
    if (input->fragments == 0)
        input->is_text = frame->opcode == WEBSOCKET_TEXT;
    input->fragments++;
    return true;
}

static void input_take(struct input *input, const struct wslay_frame_iocb *frame,
                       const struct input_limits *limits, struct input_event *event)
{
    if (!input->is_in_frame && !input_begin(input, frame, limits, event))
        return;
    input->seen += frame->data_length;
    input->is_in_frame = input->seen < frame->payload_length;
    if (!input->is_in_frame) {
        input->seen = 0;
        input->ahead -= input_head_bytes(frame->payload_length) + frame->payload_length;
    }
    if (wslay_is_ctrl_frame(frame->opcode))
        input_take_control(input, frame, event);
    else
        input_take_data(input, frame, event);
}

void input_read(struct input *input, struct text *bytes, const struct input_limits *limits,
                struct input_event *event)
{
    struct wslay_frame_iocb frame;
    ssize_t got = 0;
    *event = (struct input_event){.kind = INPUT_NOTHING};
    input->source = bytes;
    if (input->fragments == 0)
        buf_deinit(&input->message);
    while (event->kind == INPUT_NOTHING && got >= 0 && (input->frames || bytes->len > 0)) {
        if (input_begin_frame(input)) {
            input_fail(event, CLOSE_TRY_LATER, NULL);
            return;
        }
        got = wslay_frame_recv(input->frames, &frame);
        if (got >= 0)
            input_take(input, &frame, limits, event);
        else if (got != WSLAY_ERR_WANT_READ)
            input_fail(event, CLOSE_PROTOCOL, "a frame's length is not as it has to be");
        else if (!input->is_in_frame && input->ahead > 0)
            input_check_head(input, limits, event);
    }
    input->source = NULL;
    if (event->kind == INPUT_NOTHING && input->ahead == 0 && !input->is_in_frame) {
        input_drop_frames(input);
        buf_deinit(&input->control);
    }
}

int input_keep(struct input *input, const struct input_event *event)
{
    if (event->bytes.bytes != input->message.bytes)
        buf_append(&input->message, event->bytes.bytes, event->bytes.len);
    return input->message.has_failed ? -ENOMEM : 0;
}

struct input_event input_kept(const struct input *input)
{
    return (struct input_event){
        .kind = INPUT_MESSAGE,
        .is_text = input->is_text,
        .bytes = {input->message.bytes ? input->message.bytes : "", input->message.len},
    };
}

void input_deinit(struct input *input)
{
    input_drop_frames(input);
    buf_deinit(&input->message);
    buf_deinit(&input->control);
}
