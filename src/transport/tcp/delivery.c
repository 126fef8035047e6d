/* SPDX-License-Identifier: MIT */
/* How messages look on raw TCP: nothing is copied but what frames them. */

#include <errno.h>
#include <string.h>

#include "render/render.h"
#include "transport/tcp/connection.h"

typedef struct rendering *(*renderer)(const struct message *message, struct text channel,
                                      const struct epoch *epoch);

static const struct delivery_form {
    enum message_form form;
    renderer render;
    const char *end; /* of a JSON line, in the place of its line feed */
    size_t end_len;
} delivery_forms[FRAMING_COUNT] = {
    /* What nobody has shown to be anything else is lines. */
    [FRAMING_AUTO] = {FORM_CRLF, render_crlf, "\r\n", 2},
    [FRAMING_CRLF] = {FORM_CRLF, render_crlf, "\r\n", 2},
    [FRAMING_NUL] = {FORM_NUL, render_nul, "", 1},
    [FRAMING_LEN32] = {FORM_LEN32, render_len32, "", 0},
    [FRAMING_RESP] = {FORM_RESP, render_resp, "", 0},
};

static struct connection *delivery_connection(const struct command_subscription *subscription)
{
    return container_of(subscription->conversation, struct connection, conversation);
}

static const struct rendering *delivery_render(const struct delivery *delivery, enum message_form form,
                                               renderer render)
{
    return message_form(delivery->message, form, subscription_channel(delivery->subscription),
                        subscription_epoch(delivery->subscription), render);
}

static void frame_set_body(struct outlet_frame *frame, const struct rendering *rendering, size_t from,
                           size_t to)
{
    frame->body = rendering->bytes + from;
    frame->body_len = to - from;
}

/* As the command protocol has it: the members of the NDJSON line, with the framing's delimiter for its line
 * feed. */
static int delivery_fill_json(const struct connection *connection, const struct delivery *delivery,
                              struct buf *text, struct outlet_frame *frame)
{
    const struct rendering *rendering = delivery_render(delivery, FORM_JSON, render_json);
    if (!rendering)
        return -ENOMEM;
    frame_set_body(frame, rendering, rendering->shared, rendering->payload_end - 1);
    frame->end = delivery_forms[connection->framing].end;
    frame->end_len = delivery_forms[connection->framing].end_len;
    if (connection->framing == FRAMING_LEN32) {
        const size_t len = strlen(CONVERSATION_MESSAGE) + frame->body_len;
        const char prefix[] = {(char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
        buf_append(text, prefix, sizeof(prefix));
    }
    buf_append_text(text, CONVERSATION_MESSAGE);
    return 0;
}

/* RESP3 has `>` where RESP2 has `*`; a pattern's name stands before the channel. */
static void delivery_begin_push(const struct connection *connection, struct buf *text)
{
    buf_append_char(text, connection->protocol == 3 ? '>' : '*');
    buf_append_text(text, "3\r\n$7\r\nmessage\r\n");
}

static void delivery_begin_pattern(const struct connection *connection, struct buf *text,
                                   const struct command_subscription *subscription)
{
    const struct text wild = subscription_channel(&subscription->subscriber.one);
    buf_append_char(text, connection->protocol == 3 ? '>' : '*');
    buf_append_text(text, "4\r\n$8\r\npmessage\r\n");
    render_resp_bulk(text, wild.bytes, wild.len - 1);
}

/* Whether a frame is nothing but what a framing's rendering holds. */
static bool delivery_is_rendering(const struct command_subscription *subscription)
{
    const struct connection *connection = delivery_connection(subscription);
    return connection->framing == FRAMING_RESP
               ? connection->protocol == 2 && !command_subscription_is_wild(subscription)
               : connection->format == UPDATE_RAW;
}

static int delivery_fill_message(const struct command_subscription *subscription,
                                 const struct delivery *delivery, struct buf *text,
                                 struct outlet_frame *frame)
{
    const struct connection *connection = delivery_connection(subscription);
    const struct delivery_form *form = &delivery_forms[connection->framing];
    if (connection->format == UPDATE_JSON && connection->framing != FRAMING_RESP)
        return delivery_fill_json(connection, delivery, text, frame);
    const struct rendering *rendering = delivery_render(delivery, form->form, form->render);
    if (!rendering)
        return -ENOMEM;
    bool is_whole = delivery_is_rendering(subscription);
    bool is_of_pattern = connection->framing == FRAMING_RESP && command_subscription_is_wild(subscription);
    if (is_of_pattern)
        delivery_begin_pattern(connection, text, subscription);
    else if (!is_whole)
        delivery_begin_push(connection, text);
    frame_set_body(frame, rendering, is_whole ? rendering->payload : rendering->shared,
                   rendering->payload_end);
    return 0;
}

void delivery_append_reset(struct buf *to, const struct delivery *delivery)
{
    render_reset_line(to, subscription_channel(delivery->subscription), delivery->reset, delivery->missed);
}

/* Over RESP, where Redis has no such thing, it is a message of its own on the channel `reset`. */
static int delivery_fill_reset(const struct connection *connection, const struct delivery *delivery,
                               struct buf *text)
{
    struct buf line = {0};
    if (connection->format == UPDATE_JSON)
        conversation_append_reset(&line, delivery);
    else
        delivery_append_reset(&line, delivery);
    if (connection->framing == FRAMING_RESP) {
        delivery_begin_push(connection, text);
        render_resp_bulk(text, "$reset", strlen("$reset"));
        render_resp_bulk(text, line.bytes, line.len);
    } else {
        frame_append(text, (enum framing)connection->framing, line.bytes, line.len);
    }
    bool has_failed = line.has_failed;
    buf_deinit(&line);
    return has_failed ? -ENOMEM : 0;
}

static int delivery_fill(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                         struct outlet_frame *frame)
{
    const struct command_subscription *subscription =
        container_of(subscriber, struct command_subscription, subscriber);
    return delivery->message ? delivery_fill_message(subscription, delivery, text, frame)
                             : delivery_fill_reset(delivery_connection(subscription), delivery, text);
}

enum outlet_progress tcp_deliver(struct command_subscription *subscription)
{
    struct connection *connection = delivery_connection(subscription);
    bool is_rendering = delivery_is_rendering(subscription);
    const struct outlet_format format = {
        .fill = delivery_fill, .run = is_rendering ? 1u + delivery_forms[connection->framing].form : 0};
    return outlet_deliver(&connection->socket.outlet, &subscription->subscriber, &format,
                          subscription->until);
}
