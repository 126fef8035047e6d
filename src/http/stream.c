/* SPDX-License-Identifier: MIT */
#include "http/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/random.h"
#include "http/errors.h"
#include "http/refusal.h"
#include "shard/comeback.h"
#include "shard/life.h"
#include "shard/outlet.h"
#include "shard/socket.h"

/*   waiting ──► opened ──► begun ──► ending
 *                  `───────────────────^
 */
enum stream_phase {
    STREAM_PHASE_WAITING, /* for its channels, or the broker: nothing has been sent */
    STREAM_PHASE_OPENED,  /* its head is sent, or on its way */
    STREAM_PHASE_BEGUN,   /* the opening has been written */
    STREAM_PHASE_ENDING,  /* the closing is the last that is written: ends once nothing is owed */
};

/* What a delivery touches is side by side. */
struct stream {
    struct subscriber subscriber;
    struct outlet outlet;
    const struct stream_format *format;
    struct exchange *exchange;
    uint64_t end_ms; /* when it is to end by itself */
    uint32_t padding;
    uint8_t phase;   /* enum stream_phase */
    uint8_t why;     /* enum error_code: that ends it; ERROR_NONE: it has lived for long enough */
    bool is_chunked; /* the response is */
    bool is_begun;   /* when it ended, the opening had been written */
    struct garbage garbage;
};

static struct stream *stream_of_outlet(struct outlet *outlet)
{
    return container_of(outlet, struct stream, outlet);
}

static void stream_move(struct stream *stream, enum stream_phase to)
{
    static const unsigned legal[] = {
        [STREAM_PHASE_WAITING] = 1u << STREAM_PHASE_OPENED,
        [STREAM_PHASE_OPENED] = 1u << STREAM_PHASE_BEGUN | 1u << STREAM_PHASE_ENDING,
        [STREAM_PHASE_BEGUN] = 1u << STREAM_PHASE_ENDING,
        [STREAM_PHASE_ENDING] = 0,
    };
    assert(legal[stream->phase] & 1u << to);
    stream->phase = (uint8_t)to;
    if (to == STREAM_PHASE_OPENED)
        exchange_open(stream->exchange, stream->format->transport->content_type);
    else if (to == STREAM_PHASE_ENDING)
        subscriber_leave(&stream->subscriber);
}

static void stream_free(struct garbage *garbage)
{
    struct stream *stream = container_of(garbage, struct stream, garbage);
    outlet_deinit(&stream->outlet);
    free(stream);
}

static void stream_gone(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    const struct linger at_once = {.l_onoff = 1};
    subscriber_leave(&stream->subscriber);
    outlet_close(&stream->outlet);
    /* Where the end of the connection is the end of the body, only a reset says that it is cut in the middle
     * of a message: proxies would pass it on as a whole one. */
    bool is_cut = outlet_owed(&stream->outlet) > 0 || socket_is_owing(exchange->fd);
    if (is_cut && !stream->is_chunked)
        setsockopt(exchange->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shard_reap(exchange->shard, &stream->garbage, stream_free);
}

/* Frames. */

/* Puts the size of a chunk before what stands in a text from `at` on, with `more` bytes that follow it. */
static void stream_begin_chunk(const struct stream *stream, struct buf *text, size_t at, size_t more)
{
    char head[RENDER_CHUNK_HEAD_MAX];
    if (stream->is_chunked && !text->has_failed)
        buf_insert(text, at, head, render_chunk_head(head, text->len - at + more));
}

/* Makes what stands in a text from `at` on a chunk of its own, unless that is nothing. */
static void stream_make_chunk(const struct stream *stream, struct buf *text, size_t at)
{
    if (!stream->is_chunked || text->len == at)
        return;
    stream_begin_chunk(stream, text, at, 0);
    buf_append_text(text, "\r\n");
}

static void stream_fill_reset(struct stream *stream, const struct delivery *delivery, struct buf *text)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = subscriber_cursor(&stream->subscriber, cursor);
    size_t at = text->len;
    stream->format->reset(text, subscription_channel(delivery->subscription), delivery->reset,
                          delivery->missed, (struct text){cursor, len});
    stream_make_chunk(stream, text, at);
}

/* With several channels the cursor is a joined one: only what follows it in the rendering is shared. */
static void stream_fill_joined(struct stream *stream, const struct rendering *rendering, struct buf *text)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t at = text->len;
    stream->format->begin_message(text,
                                  (struct text){cursor, subscriber_cursor(&stream->subscriber, cursor)});
    stream_begin_chunk(stream, text, at, rendering->payload_end - rendering->shared);
}

static int stream_fill(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                       struct outlet_frame *frame)
{
    struct stream *stream = container_of(subscriber, struct stream, subscriber);
    if (!delivery->message) {
        stream_fill_reset(stream, delivery, text);
        return 0;
    }
    const struct rendering *rendering =
        message_form(delivery->message, stream->format->form, subscription_channel(delivery->subscription),
                     subscription_epoch(delivery->subscription), stream->format->render);
    if (!rendering)
        return -ENOMEM;
    size_t from = stream->is_chunked ? 0 : rendering->payload;
    if (subscriber_is_joined(subscriber)) {
        stream_fill_joined(stream, rendering, text);
        from = rendering->shared;
    }
    frame->body = rendering->bytes + from;
    frame->body_len = (stream->is_chunked ? rendering->size : rendering->payload_end) - from;
    return 0;
}

/* Writing. */

/* The opening says whether the client gets everything since its cursor; so it waits for what the broker has
 * to be asked. Returns whether the stream may go on. */
static bool stream_write_opening(struct stream *stream)
{
    char cursor[CURSOR_TEXT_MAX];
    enum recovery recovery = subscriber_recovery(&stream->subscriber);
    if (subscriber_is_fetching(&stream->subscriber))
        return false;
    const struct stream_opening opening = {
        .cursor = {cursor, subscriber_cursor(&stream->subscriber, cursor)},
        .is_recovered = recovery == RECOVERY_WHOLE,
        .completeness = subscriber_completeness(&stream->subscriber),
        .retry_ms = random_jitter(stream->exchange->shard->options->retry_ms),
        .padding = stream->padding,
        .exchange = stream->exchange,
    };
    struct buf *text = outlet_text(&stream->outlet);
    size_t at = text->len;
    stream_move(stream, STREAM_PHASE_BEGUN);
    stream->format->opening(text, &opening);
    stream_make_chunk(stream, text, at);
    return true;
}

/* With a joined cursor no two streams are the same. */
static unsigned stream_run(const struct stream *stream)
{
    return subscriber_is_joined(&stream->subscriber)
               ? 0
               : 1u + stream->format->form + (stream->is_chunked ? FORM_COUNT : 0u);
}

static void stream_flush(struct stream *stream)
{
    const struct outlet_format format = {.fill = stream_fill, .run = stream_run(stream)};
    if (stream->phase == STREAM_PHASE_BEGUN || stream_write_opening(stream))
        outlet_deliver(&stream->outlet, &stream->subscriber, &format, UINT64_MAX);
}

/* Before the opening there is no page yet that could be told by a call of its function. */
static void stream_append_error(const struct stream *stream, struct buf *text)
{
    const struct transport *transport = stream->format->transport;
    struct buf json = {0};
    if (stream->why == ERROR_STOPPING)
        comeback_append_object(&json, stream->exchange->shard);
    else
        errors_render_object(&json, stream->why, error_text(stream->why));
    const struct text object = {json.bytes, json.len};
    text->has_failed = text->has_failed || json.has_failed;
    if (!json.has_failed && transport->call && !stream->is_begun)
        transport->call(text, exchange_query(stream->exchange, "callback"), object);
    else if (!json.has_failed)
        stream->format->error(text, (enum error_code)stream->why, object);
    buf_deinit(&json);
}

/* What passes by itself is not told: the client is to come back. That the server stops is told: when, to who
 * has not been told so by `come_back`, and where. */
static bool stream_tells_why(const struct stream *stream)
{
    const struct options *options = stream->exchange->shard->options;
    if (stream->why == ERROR_NONE)
        return false;
    if (stream->why == ERROR_STOPPING)
        return !stream->format->transport->come_back || options->alternatives.count > 0;
    return error_status(stream->why) < MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static void stream_write_closing(struct stream *stream)
{
    struct exchange *exchange = stream->exchange;
    const struct transport *transport = stream->format->transport;
    struct buf *text = outlet_text(&stream->outlet);
    size_t at = text->len;
    if (transport->come_back && stream->why == ERROR_NONE)
        transport->come_back(text, life_retry_ms(exchange->shard));
    else if (transport->come_back && stream->why == ERROR_STOPPING)
        transport->come_back(text, comeback_ms(exchange->shard));
    else if (transport->come_back && error_status(stream->why) >= MHD_HTTP_INTERNAL_SERVER_ERROR)
        transport->come_back(text, random_jitter(exchange->shard->options->retry_ms));
    if (stream_tells_why(stream))
        stream_append_error(stream, text);
    stream_make_chunk(stream, text, at);
    if (outlet_flush(&stream->outlet))
        exchange_end(exchange, true);
}

/* Ends between two messages: what is owed of one comes first, now or when the peer takes it. With the head
 * still to be sent, `opened` follows. */
static void stream_finish(struct stream *stream, enum error_code why)
{
    if (stream->phase == STREAM_PHASE_ENDING)
        return;
    stream->why = (uint8_t)why;
    stream->is_begun = stream->phase == STREAM_PHASE_BEGUN;
    stream_move(stream, STREAM_PHASE_ENDING);
    if (stream->exchange->state == EXCHANGE_STREAMING)
        stream_write_closing(stream);
}

static void stream_relieved(struct outlet *outlet)
{
    struct stream *stream = stream_of_outlet(outlet);
    if (stream->phase == STREAM_PHASE_ENDING)
        exchange_end(stream->exchange, true);
    else
        subscriber_unblock(&stream->subscriber);
}

static void stream_broken(struct outlet *outlet)
{
    exchange_end(stream_of_outlet(outlet)->exchange, false);
}

static const struct outlet_ops stream_outlet_ops = {.relieved = stream_relieved, .broken = stream_broken};

/* The subscriber's side. */

/* Sends the head; `opened` follows. */
static void stream_open(struct stream *stream)
{
    if (stream->phase == STREAM_PHASE_WAITING && exchange_settle(stream->exchange))
        stream_move(stream, STREAM_PHASE_OPENED);
}

static void stream_wake(struct subscriber *subscriber, bool is_first)
{
    struct stream *stream = container_of(subscriber, struct stream, subscriber);
    if (is_first && stream->exchange->state != EXCHANGE_STREAMING) {
        subscriber_block(subscriber);
        stream_open(stream);
    } else {
        stream_flush(stream);
    }
}

static void stream_fail(struct subscriber *subscriber, enum error_code error)
{
    struct stream *stream = container_of(subscriber, struct stream, subscriber);
    if (stream->phase == STREAM_PHASE_WAITING)
        refusal_answer(stream->exchange, error, stream->format->transport);
    else
        stream_finish(stream, error);
}

static enum error_code stream_admits(struct subscriber *subscriber, struct text channel)
{
    const struct exchange *exchange = container_of(subscriber, struct stream, subscriber)->exchange;
    return bearer_admits(&exchange->bearer, exchange->shard, subscriber, channel);
}

static const struct subscriber_ops stream_subscriber_ops = {
    .wake = stream_wake, .fail = stream_fail, .admits = stream_admits};

/* The exchange's side. */

static void stream_opened(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    stream->outlet.progress_ms = exchange->shard->now_ms;
    stream->end_ms = life_begin(exchange->shard, cell_round_ms(exchange->shard));
    if (stream->phase == STREAM_PHASE_ENDING)
        stream_write_closing(stream);
    else
        subscriber_unblock(&stream->subscriber);
}

static void stream_writable(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    if (stream->outlet.state == OUTLET_BLOCKED)
        outlet_flush(&stream->outlet);
}

/* The broker is away, and proxies give up on who has not sent a head: the stream opens, and is silent but for
 * heartbeats until the broker is back. */
static void stream_expire(struct exchange *exchange)
{
    stream_open(exchange->holder);
}

static void stream_tick(struct exchange *exchange)
{
    struct stream *stream = exchange->holder;
    if (stream->phase == STREAM_PHASE_ENDING)
        return;
    if (exchange->state == EXCHANGE_STREAMING &&
        life_is_over(exchange->shard, stream->end_ms, cell_round_ms(exchange->shard))) {
        stream_finish(stream, ERROR_NONE);
        return;
    }
    if (!outlet_is_silent(&stream->outlet, exchange->shard->options->heartbeat_ms * 5 / 6))
        return;
    struct buf *text = outlet_text(&stream->outlet);
    size_t at = text->len;
    stream->format->heartbeat(text, stream->phase == STREAM_PHASE_BEGUN);
    stream_make_chunk(stream, text, at);
}

static void stream_let_go(struct exchange *exchange, enum error_code why)
{
    struct stream *stream = exchange->holder;
    if (stream->phase == STREAM_PHASE_WAITING)
        refusal_answer(exchange, why, stream->format->transport);
    else
        stream_finish(stream, why);
}

static const struct hold_ops stream_hold_ops = {
    .gone = stream_gone,
    .opened = stream_opened,
    .writable = stream_writable,
    .expire = stream_expire,
    .tick = stream_tick,
    .let_go = stream_let_go,
};

void stream_begin(struct exchange *exchange, const struct subscription_wish *wish,
                  const struct stream_format *format)
{
    struct stream *stream = refusal_make_holder(exchange, sizeof(*stream), format->transport);
    if (!stream)
        return;
    outlet_init(&stream->outlet, &stream_outlet_ops, exchange->shard, exchange->fd);
    stream->subscriber.ahead = &stream->outlet;
    stream->subscriber.policy = (uint8_t)wish->policy;
    stream->exchange = exchange;
    stream->format = format;
    stream->padding = (uint32_t)wish->padding;
    stream->subscriber.persona = persona_ref(wish->persona);
    stream->is_chunked = exchange_is_chunked(exchange);
    exchange_hold(exchange, &stream_hold_ops, stream);
    exchange_bear(exchange);
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
