/* SPDX-License-Identifier: MIT */
#include "http/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/random.h"
#include "http/refusal.h"

/* Messages in one write: enough that a burst is one system call, few enough for the stack. */
#define STREAM_BATCH 256u
/* Bytes written before others have their turn. */
#define STREAM_TURN_BYTES (1u << 20)

/* The rest of a frame that the socket did not take whole: a text of our own, then the tail of a message's
 * rendering. There is at most one for each stream, whatever has come since. */
struct stream_debt {
    char *text;
    size_t text_len;
    size_t text_at;
    struct message *message;
    const char *tail;
    size_t tail_len;
    size_t tail_at;
};

struct stream {
    struct subscriber subscriber;
    struct garbage garbage;
    struct exchange *exchange;
    const struct stream_format *format;
    struct stream_debt *debt; /* NULL when nothing is owed */
    uint32_t padding;
    bool has_cursor; /* the client has named the message that it saw last */
    bool is_opened;  /* its exchange has been opened */
    bool has_begun;  /* the opening has been written */
    bool is_ending;  /* it ends once nothing is owed */
    bool has_closed; /* the closing has been written */
};

static void debt_free(struct stream_debt *debt)
{
    if (!debt)
        return;
    message_unref(debt->message);
    free(debt->text);
    free(debt);
}

static void stream_free(struct garbage *garbage)
{
    struct stream *stream = container_of(garbage, struct stream, garbage);
    debt_free(stream->debt);
    free(stream);
}

static void stream_gone(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    const struct linger at_once = {.l_onoff = 1};
    subscriber_leave(&stream->subscriber);
    /* Where the end of the connection is the end of the body, only a reset says that it is cut in the middle
     * of a message: proxies would pass it on as a whole one. */
    if (stream->debt && !exchange_is_chunked(exchange))
        setsockopt(exchange->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shard_reap(exchange->shard, &stream->garbage, stream_free);
}

/* Frames: what is written whole or owed. */

struct frame {
    struct delivery *delivery;
    struct message *message;
    size_t text_at; /* in the batch's text */
    size_t text_len;
    const char *tail;
    size_t tail_len;
};

struct batch {
    struct stream *stream;
    struct delivery deliveries[STREAM_BATCH];
    struct frame frames[STREAM_BATCH];
    struct iovec parts[2 * STREAM_BATCH];
    size_t count;
    struct buf text;
    bool has_failed;
};

/* Owes what `frame` has left behind its first `sent` bytes. Returns false when memory is out: the stream
 * cannot go on. */
static bool stream_owe(struct stream *stream, const struct frame *frame, const char *text, size_t sent)
{
    struct stream_debt *debt = calloc(1, sizeof(*debt));
    if (!debt)
        return false;
    size_t text_sent = sent < frame->text_len ? sent : frame->text_len;
    debt->text_len = frame->text_len - text_sent;
    debt->text = debt->text_len > 0 ? malloc(debt->text_len) : NULL;
    if (debt->text_len > 0 && !debt->text) {
        free(debt);
        return false;
    }
    if (debt->text)
        memcpy(debt->text, text + frame->text_at + text_sent, debt->text_len);
    if (frame->message)
        debt->message = message_ref(frame->message);
    debt->tail = frame->tail;
    debt->tail_len = frame->tail_len;
    debt->tail_at = sent - text_sent;
    stream->debt = debt;
    return true;
}

static void stream_abort(struct stream *stream)
{
    exchange_end(stream->exchange, false);
}

/* Pays what is owed. Returns whether the stream may go on. */
static bool stream_pay(struct stream *stream)
{
    struct stream_debt *debt = stream->debt;
    if (!debt)
        return true;
    const struct iovec parts[] = {
        {debt->text ? debt->text + debt->text_at : NULL, debt->text_len - debt->text_at},
        {(void *)(uintptr_t)(debt->tail + debt->tail_at), debt->tail_len - debt->tail_at}};
    ssize_t sent = exchange_write(stream->exchange, parts, 2);
    if (sent < 0) {
        stream_abort(stream);
        return false;
    }
    size_t of_text = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
    debt->text_at += of_text;
    debt->tail_at += (size_t)sent - of_text;
    if (debt->text_at < debt->text_len || debt->tail_at < debt->tail_len)
        return false;
    debt_free(debt);
    stream->debt = NULL;
    return true;
}

/* Wraps `len` bytes at the end of a text into a chunk, with `more` bytes that follow from elsewhere. */
static void stream_close_chunk_head(const struct stream *stream, struct buf *text, size_t at, size_t more)
{
    char head[RENDER_CHUNK_HEAD_MAX];
    size_t len = text->len - at;
    if (!exchange_is_chunked(stream->exchange) || text->has_failed)
        return;
    size_t head_len = render_chunk_head(head, len + more);
    if (buf_reserve(text, head_len))
        return;
    memmove(text->bytes + at + head_len, text->bytes + at, len);
    memcpy(text->bytes + at, head, head_len);
    text->len += head_len;
}

/* Writes a text of our own. Returns whether the stream may go on: not when it is blocked or over. */
static bool stream_write_text(struct stream *stream, struct buf *text)
{
    stream_close_chunk_head(stream, text, 0, 0);
    if (exchange_is_chunked(stream->exchange))
        buf_append_text(text, "\r\n");
    const struct frame frame = {.text_len = text->len};
    const struct iovec part = {text->bytes, text->len};
    ssize_t sent = text->has_failed ? -1 : text->len > 0 ? exchange_write(stream->exchange, &part, 1) : 0;
    bool is_whole = sent >= 0 && (size_t)sent == text->len;
    if (sent < 0 || (!is_whole && !stream_owe(stream, &frame, text->bytes, (size_t)sent)))
        stream_abort(stream);
    buf_deinit(text);
    return is_whole;
}

/* Messages. */

static void batch_add_reset(struct batch *batch, struct frame *frame)
{
    struct stream *stream = batch->stream;
    const struct delivery *delivery = frame->delivery;
    char cursor[CURSOR_TEXT_MAX];
    size_t channel_len;
    const char *channel = subscription_channel(delivery->subscription, &channel_len);
    size_t at = batch->text.len;
    stream->format->reset(&batch->text, channel, channel_len, delivery->reset, delivery->missed, cursor,
                          subscriber_cursor(&stream->subscriber, cursor));
    stream_close_chunk_head(stream, &batch->text, at, 0);
    if (exchange_is_chunked(stream->exchange))
        buf_append_text(&batch->text, "\r\n");
    frame->text_at = at;
    frame->text_len = batch->text.len - at;
}

/* With several channels the cursor is a joined one: only what follows it in the rendering is shared. */
static void batch_add_joined(struct batch *batch, struct frame *frame, const struct rendering *rendering)
{
    struct stream *stream = batch->stream;
    char cursor[CURSOR_TEXT_MAX];
    size_t at = batch->text.len;
    stream->format->begin_message(&batch->text, cursor, subscriber_cursor(&stream->subscriber, cursor));
    stream_close_chunk_head(stream, &batch->text, at, rendering->payload_end - rendering->shared);
    frame->text_at = at;
    frame->text_len = batch->text.len - at;
    frame->tail = rendering->bytes + rendering->shared;
    frame->tail_len = (exchange_is_chunked(stream->exchange) ? rendering->size : rendering->payload_end) -
                      rendering->shared;
}

static void batch_add_message(struct batch *batch, struct frame *frame)
{
    struct stream *stream = batch->stream;
    const struct subscription *subscription = frame->delivery->subscription;
    size_t channel_len;
    const char *channel = subscription_channel(subscription, &channel_len);
    const struct rendering *rendering =
        message_form(frame->message, stream->format->form, channel, channel_len,
                     subscription_epoch(subscription), stream->format->render);
    if (!rendering) {
        batch->has_failed = true;
    } else if (stream->subscriber.count > 1) {
        batch_add_joined(batch, frame, rendering);
    } else if (exchange_is_chunked(stream->exchange)) {
        frame->tail = rendering->bytes;
        frame->tail_len = rendering->size;
    } else {
        frame->tail = rendering->bytes + rendering->payload;
        frame->tail_len = rendering->payload_end - rendering->payload;
    }
}

/* Makes a frame of each delivery, as if all were taken. */
static void batch_fill(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct frame *frame = &batch->frames[i];
        *frame = (struct frame){.delivery = &batch->deliveries[i], .message = batch->deliveries[i].message};
        subscriber_advance(&batch->deliveries[i]);
        if (frame->message)
            batch_add_message(batch, frame);
        else
            batch_add_reset(batch, frame);
    }
    batch->has_failed = batch->has_failed || batch->text.has_failed;
}

static int batch_list_parts(struct batch *batch, size_t *bytes)
{
    int count = 0;
    *bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct frame *frame = &batch->frames[i];
        if (frame->text_len > 0)
            batch->parts[count++] = (struct iovec){batch->text.bytes + frame->text_at, frame->text_len};
        if (frame->tail_len > 0)
            batch->parts[count++] = (struct iovec){(void *)(uintptr_t)frame->tail, frame->tail_len};
        *bytes += frame->text_len + frame->tail_len;
    }
    return count;
}

/* Takes back what the socket did not take; the frame that it took a part of is owed. */
static bool batch_settle(struct batch *batch, size_t sent)
{
    size_t taken = 0;
    while (taken < batch->count) {
        const struct frame *frame = &batch->frames[taken];
        size_t len = frame->text_len + frame->tail_len;
        if (sent < len)
            break;
        sent -= len;
        taken++;
    }
    bool is_sound = true;
    if (sent > 0) {
        is_sound = stream_owe(batch->stream, &batch->frames[taken], batch->text.bytes, sent);
        taken++;
    }
    for (size_t i = batch->count; i > taken; i--)
        subscriber_retreat(&batch->deliveries[i - 1]);
    shard_count(batch->stream->exchange->shard, METRIC_DELIVERIES, taken);
    return is_sound;
}

enum stream_progress { STREAM_DONE, STREAM_MORE, STREAM_BLOCKED, STREAM_BROKEN };

static enum stream_progress stream_write_batch(struct stream *stream, size_t *written)
{
    struct batch batch;
    enum stream_progress progress = STREAM_BROKEN;
    size_t bytes;
    batch.stream = stream;
    batch.text = (struct buf){0};
    batch.has_failed = false;
    batch.count = subscriber_collect(&stream->subscriber, batch.deliveries, STREAM_BATCH);
    if (batch.count == 0)
        return STREAM_DONE;
    batch_fill(&batch);
    int count = batch_list_parts(&batch, &bytes);
    ssize_t sent = batch.has_failed ? -1 : exchange_write(stream->exchange, batch.parts, count);
    if (sent >= 0 && batch_settle(&batch, (size_t)sent)) {
        *written += (size_t)sent;
        progress = (size_t)sent < bytes         ? STREAM_BLOCKED
                   : batch.count < STREAM_BATCH ? STREAM_DONE
                                                : STREAM_MORE;
    }
    buf_deinit(&batch.text);
    return progress;
}

/* The opening says whether the client gets everything since its cursor; so it waits for what the broker has
 * to be asked. Returns whether the stream may go on. */
static bool stream_write_opening(struct stream *stream)
{
    char cursor[CURSOR_TEXT_MAX];
    struct buf text = {0};
    bool has_gap = subscriber_has_gap(&stream->subscriber);
    if (subscriber_is_fetching(&stream->subscriber))
        return false;
    const struct stream_opening opening = {
        .cursor = cursor,
        .cursor_len = subscriber_cursor(&stream->subscriber, cursor),
        .is_recovered = stream->has_cursor && !has_gap,
        .retry_ms = random_jitter(stream->exchange->shard->options->retry_ms),
        .padding = stream->padding,
    };
    stream->has_begun = true;
    stream->format->opening(&text, &opening);
    if (stream_write_text(stream, &text))
        return true;
    if (stream->exchange->hold)
        subscriber_block(&stream->subscriber);
    return false;
}

static void stream_flush(struct stream *stream)
{
    enum stream_progress progress = STREAM_MORE;
    size_t written = 0;
    if (!stream->has_begun && !stream_write_opening(stream))
        return;
    while (progress == STREAM_MORE && written < STREAM_TURN_BYTES)
        progress = stream_write_batch(stream, &written);
    if (progress == STREAM_BLOCKED)
        subscriber_block(&stream->subscriber);
    else if (progress == STREAM_MORE)
        subscriber_yield(&stream->subscriber);
    else if (progress == STREAM_BROKEN)
        stream_abort(stream);
}

/* Ends between two messages: what is owed of one comes first, now or when the socket takes it. */
static void stream_finish(struct stream *stream)
{
    struct exchange *exchange = stream->exchange;
    struct buf text = {0};
    subscriber_leave(&stream->subscriber);
    stream->is_ending = true;
    /* With the head still to be sent, `writable` follows. */
    if (exchange->state != EXCHANGE_STREAMING || !stream_pay(stream))
        return;
    if (!stream->has_closed && stream->format->transport->come_back)
        stream->format->transport->come_back(&text, random_jitter(exchange->shard->options->retry_ms));
    stream->has_closed = true;
    if (text.len == 0 || stream_write_text(stream, &text))
        exchange_end(exchange, true);
}

/* The subscriber's side. */

/* Sends the head; `writable` follows. */
static void stream_open(struct stream *stream)
{
    if (stream->is_opened || !exchange_settle(stream->exchange))
        return;
    stream->is_opened = true;
    exchange_open(stream->exchange, stream->format->transport->content_type);
}

static void stream_wake(struct subscriber *subscriber, bool is_first)
{
    struct stream *stream = container_of(subscriber, struct stream, subscriber);
    const struct exchange *exchange = stream->exchange;
    if (is_first && (exchange->state != EXCHANGE_STREAMING || exchange->is_blocked)) {
        subscriber_block(subscriber);
        stream_open(stream);
    } else {
        stream_flush(stream);
    }
}

static void stream_fail(struct subscriber *subscriber, enum error_code error)
{
    struct stream *stream = container_of(subscriber, struct stream, subscriber);
    if (stream->is_opened)
        stream_finish(stream);
    else
        refusal_answer(stream->exchange, error, stream->format->transport);
}

static const struct subscriber_ops stream_subscriber_ops = {.wake = stream_wake, .fail = stream_fail};

/* The exchange's side. */

static void stream_writable(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    if (stream->is_ending)
        stream_finish(stream);
    else if (stream_pay(stream))
        subscriber_unblock(&stream->subscriber);
}

/* The broker is away, and proxies give up on who has not sent a head: the stream opens, and is silent but for
 * heartbeats until the broker is back. */
static void stream_expire(struct exchange *exchange)
{
    stream_open(exchange->holder);
}

static void stream_heartbeat(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    struct buf text = {0};
    stream->format->heartbeat(&text);
    if (!stream_write_text(stream, &text) && exchange->hold)
        subscriber_block(&stream->subscriber);
}

static void stream_drain(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    if (stream->is_opened)
        stream_finish(stream);
    else
        refusal_answer(exchange, ERROR_STOPPING, stream->format->transport);
}

static const struct hold_ops stream_hold_ops = {
    .gone = stream_gone,
    .writable = stream_writable,
    .expire = stream_expire,
    .heartbeat = stream_heartbeat,
    .drain = stream_drain,
};

void stream_begin(struct exchange *exchange, const struct subscription_wish *wish,
                  const struct stream_format *format)
{
    struct stream *stream = exchange_is_draining(exchange) ? NULL : calloc(1, sizeof(*stream));
    if (!stream) {
        refusal_answer(exchange, exchange_is_draining(exchange) ? ERROR_STOPPING : ERROR_OUT_OF_MEMORY,
                       format->transport);
        return;
    }
    stream->exchange = exchange;
    stream->subscriber.ahead = exchange;
    stream->format = format;
    stream->padding = (uint32_t)wish->padding;
    stream->has_cursor = wish->start.kind == START_CURSOR;
    exchange_hold(exchange, &stream_hold_ops, stream);
    enum error_code error =
        subscriber_join(&stream->subscriber, &exchange->shard->hub, &stream_subscriber_ops, format->kind,
                        wish->channels, wish->count, &wish->start);
    if (error != ERROR_NONE) {
        refusal_answer(exchange, error, format->transport);
    } else if (exchange->state == EXCHANGE_HANDLING) {
        exchange_suspend(exchange);
        exchange_set_deadline(exchange, exchange->shard->options->heartbeat_ms);
    }
}
