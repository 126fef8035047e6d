/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/receiver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "http/identity.h"
#include "render/render.h"
#include "render/script.h"
#include "shard/life.h"
#include "shard/outlet.h"
#include "shard/shard.h"
#include "transport/sockjs/frame.h"
#include "transport/sockjs/reply.h"

/*   waiting ──► open ──► ending ──► done
 *      `──────────^────────^──────────^
 */
enum receiver_phase {
    RECEIVER_WAITING, /* a poll; a stream whose head is not sent yet */
    RECEIVER_OPEN,    /* a stream */
    RECEIVER_ENDING,  /* the same, but once nothing is owed it ends */
    RECEIVER_DONE,    /* its client gets everything that its session has told */
};

/* Messages that a stream is told at a time. */
#define RECEIVER_STEP 16u

struct receiver {
    struct exchange *exchange;
    struct session *session; /* NULL when it only tells that it ends */
    enum carrier carrier;
    uint8_t phase; /* enum receiver_phase */
    bool is_chunked;
    bool tells_open; /* first of all */
    bool has_end;    /* it tells why it ends, and does */
    enum close_reason reason;
    char callback[SCRIPT_CALLBACK_MAX + 1];
    uint64_t sent;        /* bytes of frames */
    uint64_t end_ms;      /* when a stream is to end by itself, for its client to open the next one */
    struct outlet outlet; /* of a stream */
    struct garbage garbage;
};

static const struct sockjs_service *receiver_service(const struct receiver *receiver)
{
    return receiver->exchange->route->context;
}

static bool receiver_is_stream(const struct receiver *receiver)
{
    return carriers[receiver->carrier].is_stream;
}

static void receiver_free(struct garbage *garbage)
{
    struct receiver *receiver = container_of(garbage, struct receiver, garbage);
    outlet_deinit(&receiver->outlet);
    free(receiver);
}

static void receiver_leave(struct receiver *receiver, bool is_interrupted)
{
    struct session *session = receiver->session;
    receiver->session = NULL;
    if (session)
        session_detach(session, is_interrupted);
}

static void receiver_gone(struct exchange *exchange)
{
    struct receiver *receiver = exchange->holder;
    receiver_leave(receiver, receiver->phase != RECEIVER_DONE);
    if (receiver_is_stream(receiver))
        outlet_close(&receiver->outlet);
    shard_reap(exchange->shard, &receiver->garbage, receiver_free);
}

/* Everything that is told stands between these brackets. */
static void append_array(struct buf *to, const struct buf *strings)
{
    buf_append_text(to, "a[");
    buf_append(to, strings->bytes, strings->len);
    buf_append_char(to, ']');
}

/* Polls. */

static void receiver_answer(struct receiver *receiver, struct text frame)
{
    struct exchange *exchange = receiver->exchange;
    struct buf body = {0};
    struct MHD_Response *response = NULL;
    sockjs_frame_append(&body, receiver->carrier, receiver->callback, frame);
    exchange_count_answer(exchange, body.has_failed ? 0 : body.capacity);
    if (body.has_failed)
        buf_deinit(&body);
    else
        response = exchange_response(body.bytes, body.len, carriers[receiver->carrier].content_type, true);
    reply_add_not_cached(response);
    reply_add_cookie(exchange, receiver_service(receiver), response);
    receiver->phase = response ? RECEIVER_DONE : RECEIVER_WAITING;
    receiver_leave(receiver, !response);
    exchange_answer(exchange, MHD_HTTP_OK, response);
}

static void receiver_answer_buf(struct receiver *receiver, struct buf *frame)
{
    if (frame->has_failed)
        exchange_answer(receiver->exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
    else
        receiver_answer(receiver, (struct text){frame->bytes, frame->len});
    buf_deinit(frame);
}

static void receiver_answer_page(struct receiver *receiver)
{
    struct buf *answers = &receiver->session->answers;
    struct buf frame = {0};
    append_array(&frame, answers);
    session_forget_answers(receiver->session);
    receiver_answer_buf(receiver, &frame);
}

/* Returns whether there was anything to tell. */
static bool receiver_tell_page(struct receiver *receiver)
{
    session_gather(receiver->session);
    if (receiver->session->answers.len == 0)
        return false;
    receiver_answer_page(receiver);
    return true;
}

static void receiver_answer_end(struct receiver *receiver)
{
    struct buf frame = {0};
    sockjs_frame_append_close(&frame, receiver->reason, receiver->exchange->shard);
    receiver_answer_buf(receiver, &frame);
}

static void receiver_poll(struct receiver *receiver)
{
    struct exchange *exchange = receiver->exchange;
    if (receiver->tells_open)
        receiver_answer(receiver, text_of(FRAME_OPEN));
    else if (receiver->has_end)
        receiver_answer_end(receiver);
    else if (!receiver_tell_page(receiver) && exchange_settle(exchange)) {
        exchange_set_deadline(exchange, exchange->shard->options->poll_wait_ms);
        conversation_unblock(&receiver->session->application.conversation);
    }
}

/* Streams. */

/* Appends bytes as one chunk. */
static void receiver_append_chunk(const struct receiver *receiver, struct buf *text, const struct buf *bytes)
{
    char head[RENDER_CHUNK_HEAD_MAX];
    text->has_failed = text->has_failed || bytes->has_failed;
    if (receiver->is_chunked)
        buf_append(text, head, render_chunk_head(head, bytes->len));
    buf_append(text, bytes->bytes, bytes->len);
    if (receiver->is_chunked)
        buf_append_text(text, "\r\n");
}

/* They leave at the end of this turn. */
static void receiver_write(struct receiver *receiver, const struct buf *bytes)
{
    receiver_append_chunk(receiver, outlet_text(&receiver->outlet), bytes);
}

static void receiver_write_frame(struct receiver *receiver, struct text frame)
{
    struct buf bytes = {0};
    sockjs_frame_append(&bytes, receiver->carrier, receiver->callback, frame);
    receiver_write(receiver, &bytes);
    receiver->sent += bytes.len;
    buf_deinit(&bytes);
}

static void receiver_write_frame_buf(struct receiver *receiver, struct buf *frame)
{
    if (frame->has_failed)
        outlet_text(&receiver->outlet)->has_failed = true;
    else
        receiver_write_frame(receiver, (struct text){frame->bytes, frame->len});
    buf_deinit(frame);
}

/* Ends when everything is written; until then it is its session's. */
static void receiver_finish(struct receiver *receiver)
{
    if (receiver->phase != RECEIVER_OPEN)
        return;
    receiver->phase = RECEIVER_ENDING;
    outlet_call(&receiver->outlet);
}

static void receiver_mind_limit(struct receiver *receiver)
{
    if (receiver->sent >= receiver_service(receiver)->declaration.response_limit_bytes)
        receiver_finish(receiver);
}

static void receiver_write_answers(struct receiver *receiver)
{
    struct buf *answers = &receiver->session->answers;
    struct buf frame = {0};
    if (answers->len == 0)
        return;
    append_array(&frame, answers);
    session_forget_answers(receiver->session);
    receiver_write_frame_buf(receiver, &frame);
    receiver_mind_limit(receiver);
}

static void receiver_write_end(struct receiver *receiver)
{
    struct buf frame = {0};
    sockjs_frame_append_close(&frame, receiver->reason, receiver->exchange->shard);
    receiver_write_frame_buf(receiver, &frame);
    receiver_finish(receiver);
}

static void receiver_opened(struct exchange *exchange)
{
    struct receiver *receiver = exchange->holder;
    struct buf prelude = {0};
    receiver->phase = RECEIVER_OPEN;
    receiver->end_ms = life_begin(exchange->shard, cell_round_ms(exchange->shard));
    receiver->outlet.progress_ms = exchange->shard->now_ms;
    sockjs_frame_append_prelude(&prelude, receiver->carrier, receiver->callback);
    receiver_write(receiver, &prelude);
    buf_deinit(&prelude);
    if (receiver->tells_open)
        receiver_write_frame(receiver, text_of(FRAME_OPEN));
    if (receiver->has_end)
        receiver_write_end(receiver);
    else {
        receiver_write_answers(receiver);
        conversation_unblock(&receiver->session->application.conversation);
    }
}

static void receiver_relieved(struct outlet *outlet)
{
    struct receiver *receiver = container_of(outlet, struct receiver, outlet);
    if (receiver->phase == RECEIVER_ENDING) {
        receiver->phase = RECEIVER_DONE;
        exchange_end(receiver->exchange, true);
    } else if (receiver->session) {
        conversation_unblock(&receiver->session->application.conversation);
        session_relieve(receiver->session);
    }
}

static void receiver_broken(struct outlet *outlet)
{
    exchange_end(container_of(outlet, struct receiver, outlet)->exchange, false);
}

static const struct outlet_ops receiver_outlet_ops = {.relieved = receiver_relieved,
                                                      .broken = receiver_broken};

static void receiver_open(struct receiver *receiver)
{
    struct exchange *exchange = receiver->exchange;
    if (!exchange_settle(exchange))
        return;
    struct MHD_Response *response =
        exchange_stream_response(exchange, carriers[receiver->carrier].content_type);
    reply_add_not_cached(response);
    reply_add_cookie(exchange, receiver_service(receiver), response);
    exchange_open_response(exchange, response);
}

/* Delivering to a stream. */

static struct receiver *receiver_of(const struct subscriber *subscriber)
{
    return container_of(application_of(subscriber), struct session, application)->receiver;
}

/* What stands in a script is escaped for it, so its bytes are shared with nobody. */
static void receiver_fill_text(struct receiver *receiver, const struct delivery *delivery, struct buf *text)
{
    struct buf string = {0};
    struct buf frame = {0};
    struct buf bytes = {0};
    application_append_string(&receiver->session->application, &string, delivery);
    append_array(&frame, &string);
    frame.has_failed = frame.has_failed || string.has_failed;
    sockjs_frame_append(&bytes, receiver->carrier, receiver->callback, (struct text){frame.bytes, frame.len});
    bytes.has_failed = bytes.has_failed || frame.has_failed;
    receiver_append_chunk(receiver, text, &bytes);
    receiver->sent += bytes.len;
    buf_deinit(&string);
    buf_deinit(&frame);
    buf_deinit(&bytes);
}

static int receiver_fill(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                         struct outlet_frame *frame)
{
    struct receiver *receiver = receiver_of(subscriber);
    const struct carrier_row *row = &carriers[receiver->carrier];
    if (!delivery->message || !row->head) {
        receiver_fill_text(receiver, delivery, text);
        return 0;
    }
    const struct rendering *rendering = application_render(&receiver->session->application, delivery);
    if (!rendering)
        return -ENOMEM;
    char head[RENDER_CHUNK_HEAD_MAX];
    size_t len = strlen(row->head) + strlen("a[") + rendering->size + strlen("]") + strlen(row->tail);
    if (receiver->is_chunked)
        buf_append(text, head, render_chunk_head(head, len));
    buf_append_text(text, row->head);
    buf_append_text(text, "a[");
    frame->body = rendering->bytes;
    frame->body_len = rendering->size;
    frame->end = receiver->is_chunked ? row->array_end_chunked : row->array_end;
    frame->end_len = strlen(frame->end);
    receiver->sent += len;
    return 0;
}

/* So that a stream does not go far beyond its limit, it is told so many messages at a time. */
static void receiver_stream(struct receiver *receiver, struct command_subscription *subscription)
{
    static const struct outlet_format format = {.fill = receiver_fill};
    struct subscriber *subscriber = &subscription->subscriber;
    const struct subscription *place = &subscriber->one;
    uint64_t limit = receiver_service(receiver)->declaration.response_limit_bytes;
    enum outlet_progress progress;
    bool is_stuck = false;
    bool is_last;
    do {
        uint64_t before = place->offset;
        is_last = is_stuck || subscription_top(place) - before <= RECEIVER_STEP;
        progress = outlet_deliver(&receiver->outlet, subscriber, &format,
                                  is_last ? UINT64_MAX : before + RECEIVER_STEP);
        is_stuck = place->offset == before; /* a reset leads further than that */
    } while (progress == OUTLET_DONE && !is_last && receiver->sent < limit);
    if (progress == OUTLET_GONE)
        return;
    receiver_mind_limit(receiver);
    if (receiver->phase == RECEIVER_ENDING)
        subscriber_block(subscriber);
}

/* The exchange's side. */

static void receiver_writable(struct exchange *exchange)
{
    struct receiver *receiver = exchange->holder;
    if (receiver->outlet.state == OUTLET_BLOCKED)
        outlet_flush(&receiver->outlet);
}

/* A poll has waited long enough. */
static void receiver_expire(struct exchange *exchange)
{
    receiver_answer(exchange->holder, text_of(FRAME_HEARTBEAT));
}

static void receiver_tick(struct exchange *exchange)
{
    struct receiver *receiver = exchange->holder;
    if (receiver->phase == RECEIVER_OPEN &&
        life_is_over(exchange->shard, receiver->end_ms, cell_round_ms(exchange->shard)))
        receiver_finish(receiver);
    if (receiver->phase != RECEIVER_OPEN ||
        !outlet_is_silent(&receiver->outlet, exchange->shard->options->heartbeat_ms * 5 / 6))
        return;
    receiver_write_frame(receiver, text_of(FRAME_HEARTBEAT));
    receiver_mind_limit(receiver);
}

static void receiver_let_go(struct exchange *exchange, enum error_code why)
{
    struct receiver *receiver = exchange->holder;
    (void)why; /* that the server stops: what hangs on a grant is the session */
    if (receiver->session)
        session_close(receiver->session, CLOSE_RESTART);
}

static const struct hold_ops receiver_hold_ops = {
    .gone = receiver_gone,
    .opened = receiver_opened,
    .writable = receiver_writable,
    .expire = receiver_expire,
    .tick = receiver_tick,
    .let_go = receiver_let_go,
};

/* The session's side. */

void receiver_flush(struct receiver *receiver)
{
    if (receiver->phase == RECEIVER_OPEN)
        receiver_write_answers(receiver);
    else if (receiver->phase == RECEIVER_WAITING && receiver->exchange->state == EXCHANGE_HELD)
        receiver_answer_page(receiver);
}

void receiver_deliver(struct receiver *receiver, struct command_subscription *subscription)
{
    bool is_stream = receiver_is_stream(receiver);
    if (receiver->phase == RECEIVER_OPEN)
        receiver_stream(receiver, subscription);
    else if (is_stream || receiver->exchange->state != EXCHANGE_HELD)
        subscriber_block(&subscription->subscriber);
    else
        (void)receiver_tell_page(receiver); /* it goes on waiting */
}

void receiver_close(struct receiver *receiver)
{
    struct session *session = receiver->session;
    receiver->reason = session->reason;
    receiver->has_end = true;
    if (receiver->phase == RECEIVER_OPEN)
        receiver_write_answers(receiver);
    receiver->session = NULL;
    session->receiver = NULL;
    if (receiver->phase == RECEIVER_OPEN)
        receiver_write_end(receiver);
    else if (receiver->phase == RECEIVER_WAITING && receiver->exchange->state == EXCHANGE_HELD)
        receiver_answer_end(receiver);
}

void receiver_call(struct receiver *receiver)
{
    if (receiver_is_stream(receiver))
        outlet_call(&receiver->outlet);
}

size_t receiver_owed(const struct receiver *receiver)
{
    return receiver_is_stream(receiver) ? outlet_owed(&receiver->outlet) : 0;
}

/* Begin. */

/* Its client may have gone without our being told yet. */
static bool receiver_has_hung_up(const struct receiver *receiver)
{
    struct pollfd wait = {.fd = receiver->exchange->fd, .events = POLLRDHUP};
    return receiver->exchange->state != EXCHANGE_OPENING && poll(&wait, 1, 0) > 0;
}

static void receiver_join(struct receiver *receiver, struct session *session)
{
    struct shard *shard = receiver->exchange->shard;
    if (session->receiver && receiver_has_hung_up(session->receiver))
        exchange_end(session->receiver->exchange, false);
    bool is_second = session->receiver != NULL; /* a closed one has none */
    receiver->has_end = is_second || session->is_closed;
    receiver->reason = is_second ? CLOSE_SECOND : session->reason;
    receiver->tells_open = !session->is_told_open;
    session->is_told_open = true;
    if (is_second)
        shard_count(shard, METRIC_CLOSED_SECOND, 1);
    if (receiver->has_end)
        return;
    receiver->session = session;
    session_attach(session, receiver);
}

void receiver_begin(struct exchange *exchange, const struct sockjs_service *service,
                    const struct session_path *path, struct text callback)
{
    struct shard *shard = exchange->shard;
    struct session *session = session_find(shard, service, path->session);
    if (!session && identity_refuses_token(exchange))
        return;
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    enum error_code error = receiver ? ERROR_NONE : ERROR_OUT_OF_MEMORY;
    if (receiver && !session)
        error = session_begin(&session, shard, service, path->session, exchange);
    if (error != ERROR_NONE) {
        free(receiver);
        exchange_fail(exchange, error, "%s", error_text(error));
        return;
    }
    outlet_init(&receiver->outlet, &receiver_outlet_ops, shard, exchange->fd);
    receiver->exchange = exchange;
    receiver->carrier = path->carrier;
    receiver->is_chunked = exchange_is_chunked(exchange);
    memcpy(receiver->callback, callback.bytes, callback.len);
    exchange_hold(exchange, &receiver_hold_ops, receiver);
    receiver_join(receiver, session);
    if (receiver->session && exchange_is_draining(exchange))
        session_close(session, CLOSE_RESTART);
    if (receiver_is_stream(receiver))
        receiver_open(receiver);
    else
        receiver_poll(receiver);
}
