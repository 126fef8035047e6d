/* SPDX-License-Identifier: MIT */
/* From the ring to the socket: many messages in one write, nothing copied but what frames them. */

#include <stdlib.h>
#include <string.h>

#include "render/render.h"
#include "transport/tcp/connection.h"

/* Messages in one write: enough that a burst is one system call, few enough for the stack. */
#define DELIVERY_BATCH 256u
/* Bytes written before others have their turn. */
#define DELIVERY_TURN_BYTES (1u << 20)

/* From so many messages on they are written as one run of bytes, which the kernel takes faster than parts. */
#define DELIVERY_RUN_LEAST 8u
#define DELIVERY_RUN_BYTES_MAX (256u << 10)

/* The frames of several messages one after another: made once for all subscribers of a channel that are to
 * get the same ones. */
struct delivery_run {
    enum message_form form;
    uint64_t first; /* offsets */
    uint64_t last;
    char bytes[];
};

/* A frame on the wire: text of its own, a run of a message's rendering, an end that all have. */
struct delivery_frame {
    size_t text_at; /* in the batch's text */
    size_t text_len;
    const char *body;
    size_t body_len;
    size_t end_len;
};

struct delivery_batch {
    struct tcp_subscription *subscription;
    struct connection *connection;
    size_t count;
    size_t bytes;
    struct buf text;
    const char *end;
    bool has_failed;
    struct delivery deliveries[DELIVERY_BATCH];
    struct delivery_frame frames[DELIVERY_BATCH];
    struct iovec parts[3 * DELIVERY_BATCH];
};

typedef struct rendering *(*renderer)(const struct message *message, const char *channel, size_t channel_len,
                                      const struct epoch *epoch);

static const struct {
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

static const struct rendering *batch_render(const struct delivery_batch *batch, struct message *message,
                                            enum message_form form, renderer render)
{
    const struct subscription *subscription = &batch->subscription->subscriber.one;
    size_t channel_len;
    const char *channel = subscription_channel(subscription, &channel_len);
    return message_form(message, form, channel, channel_len, subscription_epoch(subscription), render);
}

static void batch_set_body(struct delivery_frame *frame, const struct rendering *rendering, size_t from,
                           size_t to)
{
    frame->body = rendering->bytes + from;
    frame->body_len = to - from;
}

/* The line of the NDJSON stream, with the framing's delimiter for its line feed. */
static void batch_add_json(struct delivery_batch *batch, struct delivery_frame *frame,
                           struct message *message)
{
    const struct rendering *rendering = batch_render(batch, message, FORM_JSON, render_json);
    if (!rendering) {
        batch->has_failed = true;
        return;
    }
    batch_set_body(frame, rendering, rendering->payload, rendering->payload_end - 1);
    frame->end_len = delivery_forms[batch->connection->framing].end_len;
    if (batch->connection->framing == FRAMING_LEN32) {
        const size_t len = frame->body_len;
        const char prefix[] = {(char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
        buf_append(&batch->text, prefix, sizeof(prefix));
    }
}

/* RESP3 has `>` where RESP2 has `*`; a pattern's name stands before the channel. */
static void batch_begin_push(struct delivery_batch *batch)
{
    buf_append_char(&batch->text, batch->connection->protocol == 3 ? '>' : '*');
    buf_append_text(&batch->text, "3\r\n$7\r\nmessage\r\n");
}

static void batch_begin_pattern(struct delivery_batch *batch, const struct tcp_pattern *pattern)
{
    buf_append_char(&batch->text, batch->connection->protocol == 3 ? '>' : '*');
    buf_append_text(&batch->text, "4\r\n$8\r\npmessage\r\n");
    render_resp_bulk(&batch->text, pattern->text, pattern->len);
}

static void batch_add_message(struct delivery_batch *batch, struct delivery_frame *frame,
                              struct message *message)
{
    const struct connection *connection = batch->connection;
    if (connection->format == UPDATE_JSON && connection->framing != FRAMING_RESP) {
        batch_add_json(batch, frame, message);
        return;
    }
    const struct rendering *rendering = batch_render(batch, message, delivery_forms[connection->framing].form,
                                                     delivery_forms[connection->framing].render);
    if (!rendering) {
        batch->has_failed = true;
    } else if (connection->framing == FRAMING_RESP &&
               (connection->protocol == 3 || batch->subscription->pattern)) {
        if (batch->subscription->pattern)
            batch_begin_pattern(batch, batch->subscription->pattern);
        else
            batch_begin_push(batch);
        batch_set_body(frame, rendering, rendering->shared, rendering->payload_end);
    } else {
        batch_set_body(frame, rendering, rendering->payload, rendering->payload_end);
    }
}

/* Over RESP, where Redis has no such thing, it is a message of its own on the channel `reset`. */
static void batch_add_reset(struct delivery_batch *batch, const struct delivery *delivery)
{
    const struct connection *connection = batch->connection;
    struct buf line = {0};
    size_t len;
    const char *channel = subscription_channel(delivery->subscription, &len);
    buf_append_text(&line, "RESET ");
    buf_append(&line, channel, len);
    buf_append_char(&line, ' ');
    buf_append_text(&line, reset_reason_word(delivery->reset));
    buf_append_char(&line, ' ');
    if (delivery->missed == MISSED_UNKNOWN)
        buf_append_char(&line, '-');
    else
        buf_append_u64(&line, delivery->missed);
    if (connection->framing == FRAMING_RESP) {
        batch_begin_push(batch);
        render_resp_bulk(&batch->text, "$reset", strlen("$reset"));
        render_resp_bulk(&batch->text, line.bytes, line.len);
    } else {
        frame_append(&batch->text, (enum framing)connection->framing, line.bytes, line.len);
    }
    batch->has_failed = batch->has_failed || line.has_failed;
    buf_deinit(&line);
}

/* Makes a frame of each delivery, as if all were taken. */
static void batch_fill(struct delivery_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct delivery_frame *frame = &batch->frames[i];
        *frame = (struct delivery_frame){.text_at = batch->text.len};
        subscriber_advance(&batch->deliveries[i]);
        if (batch->deliveries[i].message)
            batch_add_message(batch, frame, batch->deliveries[i].message);
        else
            batch_add_reset(batch, &batch->deliveries[i]);
        frame->text_len = batch->text.len - frame->text_at;
        batch->bytes += frame->text_len + frame->body_len + frame->end_len;
    }
    batch->has_failed = batch->has_failed || batch->text.has_failed;
}

static int batch_list_parts(struct delivery_batch *batch)
{
    int count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct delivery_frame *frame = &batch->frames[i];
        if (frame->text_len > 0)
            batch->parts[count++] = (struct iovec){batch->text.bytes + frame->text_at, frame->text_len};
        if (frame->body_len > 0)
            batch->parts[count++] = (struct iovec){(void *)(uintptr_t)frame->body, frame->body_len};
        if (frame->end_len > 0)
            batch->parts[count++] = (struct iovec){(void *)(uintptr_t)batch->end, frame->end_len};
    }
    return count;
}

static void run_release(void *run)
{
    free(run);
}

static struct delivery_run *batch_make_run(const struct delivery_batch *batch, enum message_form form,
                                           uint64_t first, uint64_t last)
{
    struct delivery_run *run = malloc(sizeof(*run) + batch->bytes);
    if (!run)
        return NULL;
    *run = (struct delivery_run){.form = form, .first = first, .last = last};
    char *to = run->bytes;
    for (size_t i = 0; i < batch->count; i++) {
        memcpy(to, batch->frames[i].body, batch->frames[i].body_len);
        to += batch->frames[i].body_len;
    }
    return run;
}

/* The bytes of all frames as one run; NULL when they are not only messages as everybody gets them. */
static const char *batch_find_run(struct delivery_batch *batch)
{
    const struct connection *connection = batch->connection;
    if (batch->count < DELIVERY_RUN_LEAST || batch->bytes > DELIVERY_RUN_BYTES_MAX || batch->text.len > 0 ||
        (connection->format == UPDATE_JSON && connection->framing != FRAMING_RESP))
        return NULL;
    const enum message_form form = delivery_forms[connection->framing].form;
    const uint64_t first = batch->deliveries[0].message->offset;
    const uint64_t last = batch->deliveries[batch->count - 1].message->offset;
    struct channel_memo *memo = subscription_memo(&batch->subscription->subscriber.one);
    const struct delivery_run *found = memo->release == run_release ? memo->value : NULL;
    if (found && found->form == form && found->first == first && found->last == last)
        return found->bytes;
    struct delivery_run *run = batch_make_run(batch, form, first, last);
    if (!run)
        return NULL;
    channel_memo_clear(memo);
    *memo = (struct channel_memo){.offset = last, .value = run, .release = run_release};
    return run->bytes;
}

/* The rest of a frame of which `sent` bytes were taken. It is owed by reference, but where it begins in a
 * text of its own. */
static void batch_owe(struct delivery_batch *batch, size_t index, size_t sent)
{
    struct stream_socket *socket = &batch->connection->socket;
    const struct delivery_frame *frame = &batch->frames[index];
    struct message *message = batch->deliveries[index].message;
    struct buf *out = stream_socket_text(socket);
    size_t body_at = sent > frame->text_len ? sent - frame->text_len : 0;
    if (sent < frame->text_len) {
        buf_append(out, batch->text.bytes + frame->text_at + sent, frame->text_len - sent);
        buf_append(out, frame->body, frame->body_len);
    } else if (body_at < frame->body_len) {
        stream_socket_owe(socket, message, frame->body + body_at, frame->body_len - body_at);
    }
    size_t end_at = body_at > frame->body_len ? body_at - frame->body_len : 0;
    buf_append(out, batch->end + end_at, frame->end_len - end_at);
}

/* Takes back what the socket did not take; the frame that it took a part of is owed. */
static void batch_settle(struct delivery_batch *batch, size_t sent)
{
    size_t taken = 0;
    while (taken < batch->count) {
        const struct delivery_frame *frame = &batch->frames[taken];
        size_t len = frame->text_len + frame->body_len + frame->end_len;
        if (sent < len)
            break;
        sent -= len;
        taken++;
    }
    if (sent > 0) {
        batch_owe(batch, taken, sent);
        taken++;
    }
    for (size_t i = batch->count; i > taken; i--)
        subscriber_retreat(&batch->deliveries[i - 1]);
    shard_count(connection_shard(batch->connection), METRIC_DELIVERIES, taken);
}

/* A history ends where the log ended when it was asked for. */
static void batch_cut(struct delivery_batch *batch, uint64_t until)
{
    while (batch->count > 0 && batch->deliveries[batch->count - 1].offset > until)
        batch->count--;
}

static enum delivery_progress batch_write(struct delivery_batch *batch, size_t *written)
{
    bool is_full = batch->count == DELIVERY_BATCH;
    batch_cut(batch, batch->subscription->until);
    if (batch->count == 0)
        return DELIVERY_DONE;
    batch->end = delivery_forms[batch->connection->framing].end;
    batch_fill(batch);
    const char *run = batch->has_failed ? NULL : batch_find_run(batch);
    int count = run ? 1 : batch_list_parts(batch);
    if (run)
        batch->parts[0] = (struct iovec){(void *)(uintptr_t)run, batch->bytes};
    if (batch->has_failed) {
        stream_socket_close(&batch->connection->socket);
        return DELIVERY_CLOSED;
    }
    ssize_t sent = count > 0 ? stream_socket_send(&batch->connection->socket, batch->parts, count) : 0;
    if (sent < 0)
        return DELIVERY_CLOSED;
    batch_settle(batch, (size_t)sent);
    *written += (size_t)sent;
    return (size_t)sent < batch->bytes ? DELIVERY_BLOCKED : is_full ? DELIVERY_MORE : DELIVERY_DONE;
}

enum delivery_progress tcp_deliver(struct tcp_subscription *subscription)
{
    struct connection *connection = subscription->connection;
    enum delivery_progress progress = DELIVERY_MORE;
    size_t written = 0;
    if (connection->socket.state != STREAM_OPEN)
        return DELIVERY_CLOSED;
    if (stream_socket_owes(&connection->socket) && !stream_socket_flush(&connection->socket))
        return connection->socket.state == STREAM_OPEN ? DELIVERY_BLOCKED : DELIVERY_CLOSED;
    while (progress == DELIVERY_MORE && written < DELIVERY_TURN_BYTES) {
        struct delivery_batch batch;
        batch.subscription = subscription;
        batch.connection = connection;
        batch.bytes = 0;
        batch.text = (struct buf){0};
        batch.has_failed = false;
        batch.count = subscriber_collect(&subscription->subscriber, batch.deliveries, DELIVERY_BATCH);
        progress = batch_write(&batch, &written);
        buf_deinit(&batch.text);
    }
    return progress;
}
