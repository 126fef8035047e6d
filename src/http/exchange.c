/* SPDX-License-Identifier: MIT */
#include "http/exchange.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http/exchange_state.h"

/* libmicrohttpd offers the reader this much; we write to the socket ourselves. */
#define EXCHANGE_BLOCK_BYTES 512u

static void exchange_release_holder(struct exchange *exchange)
{
    const struct hold_ops *hold = exchange->hold;
    timer_stop(&exchange->shard->wheel, &exchange->timer);
    exchange->hold = NULL;
    bearer_end(&exchange->bearer);
    if (hold)
        hold->gone(exchange);
}

/* Has libmicrohttpd go on with the connection, if it rests. */
static void exchange_wake(struct exchange *exchange)
{
    if (!exchange->is_suspended)
        return;
    exchange->is_suspended = false;
    cell_resume(exchange->client->cell, exchange->connection);
}

void exchange_rest(struct exchange *exchange)
{
    exchange->is_suspended = true;
    MHD_suspend_connection(exchange->connection);
}

void exchange_drop_body(struct exchange *exchange)
{
    buf_deinit(&exchange->body);
    (void)memory_share_set(&exchange->share, exchange->shard, 0); /* less always fits */
}

static void exchange_free(struct garbage *garbage)
{
    struct exchange *exchange = container_of(garbage, struct exchange, garbage);
    exchange_drop_body(exchange);
    free(exchange);
}

static void exchange_leave(struct exchange *exchange)
{
    exchange_drop_response(exchange);
    exchange->client->owner = NULL;
    shard_reap(exchange->shard, &exchange->garbage, exchange_free);
}

#define TO(state) (1u << EXCHANGE_##state)

/*   head ──► body ──► read ──► handling ──► answered, upgrading
 *                               │ └──► pending ─┐^
 *                               └──► held ◄─────┘│
 *                                      ├─────────┘
 *                                      └──► opening ──► streaming ──► ending
 *   gone from whatever may wait for the client; over from all
 */
void exchange_move(struct exchange *exchange, enum exchange_state to)
{
    static const unsigned legal[] = {
        [EXCHANGE_HEAD] = TO(BODY),
        [EXCHANGE_BODY] = TO(READ) | TO(GONE),
        [EXCHANGE_READ] = TO(HANDLING),
        [EXCHANGE_HANDLING] = TO(PENDING) | TO(HELD) | TO(ANSWERED) | TO(UPGRADING) | TO(GONE),
        [EXCHANGE_PENDING] = TO(HELD) | TO(ANSWERED) | TO(GONE),
        [EXCHANGE_HELD] = TO(ANSWERED) | TO(OPENING) | TO(GONE),
        [EXCHANGE_ANSWERED] = 0,
        [EXCHANGE_OPENING] = TO(STREAMING),
        [EXCHANGE_UPGRADING] = 0,
        [EXCHANGE_STREAMING] = TO(ENDING) | TO(GONE),
        [EXCHANGE_ENDING] = 0,
        [EXCHANGE_GONE] = 0,
        [EXCHANGE_OVER] = 0,
    };
    assert(to == EXCHANGE_OVER || legal[exchange->state] & 1u << to);
    exchange->state = to;
    switch (to) {
    case EXCHANGE_HEAD:
    case EXCHANGE_BODY:
    case EXCHANGE_PENDING:
    case EXCHANGE_HELD:
    case EXCHANGE_UPGRADING:
        break;
    case EXCHANGE_HANDLING:
        timer_stop(&exchange->shard->wheel, &exchange->timer);
        break;
    case EXCHANGE_READ:
    case EXCHANGE_OPENING:
        exchange_wake(exchange);
        break;
    case EXCHANGE_STREAMING:
        exchange_rest(exchange);
        break;
    case EXCHANGE_ANSWERED:
    case EXCHANGE_ENDING:
    case EXCHANGE_GONE:
        exchange_release_holder(exchange);
        exchange_wake(exchange);
        break;
    case EXCHANGE_OVER:
        exchange_release_holder(exchange);
        exchange_leave(exchange);
        break;
    }
}

#undef TO

static struct exchange *exchange_of_owner(struct client_owner *owner)
{
    return container_of(owner, struct exchange, owner);
}

/* A held exchange without anybody to tell waits for the broker: its answer comes whatever the client does. */
static bool exchange_is_releasable(const struct exchange *exchange)
{
    return exchange->hold && (exchange->state == EXCHANGE_PENDING || exchange->state == EXCHANGE_HELD ||
                              exchange->state == EXCHANGE_STREAMING);
}

/* A peer that has closed its side, or all of it: that cannot be told apart before something is sent. */
static bool exchange_has_lost_peer(const struct exchange *exchange)
{
    const struct client *client = exchange->client;
    return client->is_broken || (client->has_hung_up && !exchange->hold->is_finite);
}

static void exchange_hung_up(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    if (exchange->client->is_broken && exchange->state == EXCHANGE_BODY) {
        exchange_move(exchange, EXCHANGE_GONE);
        return;
    }
    if (exchange->state == EXCHANGE_PENDING || !exchange_is_releasable(exchange) ||
        !exchange_has_lost_peer(exchange))
        return;
    shard_count(exchange->shard, METRIC_HANGUPS, 1);
    exchange_move(exchange, EXCHANGE_GONE);
}

static void exchange_readable(struct client_owner *owner)
{
    intake_readable(exchange_of_owner(owner));
}

static void exchange_socket_writable(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    if (exchange->state == EXCHANGE_STREAMING && exchange->hold)
        exchange->hold->writable(exchange);
}

static void exchange_drain(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    exchange->is_let_go = true;
    if (exchange->hold && exchange->hold->let_go)
        exchange->hold->let_go(exchange, ERROR_STOPPING);
}

/* Even when there is no time left, who can be answered without waiting is. */
static void exchange_cut(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    exchange_drain(owner);
    if (exchange->state == EXCHANGE_BODY || exchange_is_releasable(exchange))
        exchange_move(exchange, EXCHANGE_GONE);
}

static void exchange_tick(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    if (exchange->state == EXCHANGE_STREAMING && exchange->hold)
        exchange->hold->tick(exchange);
}

static bool exchange_is_held(struct client_owner *owner)
{
    const struct exchange *exchange = exchange_of_owner(owner);
    return exchange_is_releasable(exchange) && !exchange->is_let_go;
}

/* libmicrohttpd gave the connection up without a word. */
static void exchange_lost(struct client_owner *owner)
{
    exchange_move(exchange_of_owner(owner), EXCHANGE_OVER);
}

const struct client_owner_ops exchange_owner_ops = {
    .readable = exchange_readable,
    .hung_up = exchange_hung_up,
    .writable = exchange_socket_writable,
    .tick = exchange_tick,
    .drain = exchange_drain,
    .cut = exchange_cut,
    .is_held = exchange_is_held,
    .lost = exchange_lost,
};

bool exchange_is_draining(const struct exchange *exchange)
{
    return exchange->shard->state != SHARD_RUNNING;
}

/* Holding. */

void exchange_expire(struct timer *timer)
{
    struct exchange *exchange = container_of(timer, struct exchange, timer);
    if (exchange->state == EXCHANGE_BODY)
        intake_expire(exchange);
    else if (exchange->hold && exchange->hold->expire)
        exchange->hold->expire(exchange);
}

void exchange_set_deadline(struct exchange *exchange, uint64_t after_ms)
{
    /* The loop's time is cut to milliseconds: one more, so that it is never early. */
    timer_arm(&exchange->shard->wheel, &exchange->timer, exchange->shard->now_ms + after_ms + 1);
}

void exchange_hold(struct exchange *exchange, const struct hold_ops *ops, void *holder)
{
    exchange->hold = ops;
    exchange->holder = holder;
}

static void exchange_grant_over(struct bearer *bearer, enum error_code why)
{
    struct exchange *exchange = container_of(bearer, struct exchange, bearer);
    exchange->hold->let_go(exchange, why);
}

void exchange_bear(struct exchange *exchange)
{
    bearer_begin(&exchange->bearer, &exchange->shard->bearers, exchange_grant_over);
}

bool exchange_settle(struct exchange *exchange)
{
    bool has_lost_peer = exchange_has_lost_peer(exchange);
    if (has_lost_peer)
        shard_count(exchange->shard, METRIC_HANGUPS, 1);
    if (has_lost_peer || exchange->state != EXCHANGE_HELD)
        exchange_move(exchange, has_lost_peer ? EXCHANGE_GONE : EXCHANGE_HELD);
    return !has_lost_peer;
}

void exchange_suspend(struct exchange *exchange)
{
    exchange_move(exchange, EXCHANGE_PENDING);
}

/* Streaming. */

bool exchange_is_chunked(const struct exchange *exchange)
{
    return !exchange->is_http10;
}

/* Called by libmicrohttpd once the head is out, and after each resume. The stream's bytes never go through
 * here: they are written straight to the socket, many messages at once, while the connection is suspended. */
static ssize_t exchange_read_stream(void *cls, uint64_t position, char *to, size_t size)
{
    struct exchange *exchange = cls;
    (void)position;
    (void)to;
    (void)size;
    if (exchange->state == EXCHANGE_ENDING)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (exchange->state != EXCHANGE_OPENING)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    exchange_move(exchange, EXCHANGE_STREAMING);
    exchange->hold->opened(exchange);
    return 0;
}

struct MHD_Response *exchange_stream_response(struct exchange *exchange, const char *content_type)
{
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EXCHANGE_BLOCK_BYTES,
                                                                      exchange_read_stream, exchange, NULL);
    if (!response)
        return NULL;
    exchange_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    exchange_response_header(response, "X-Accel-Buffering", "no");
    return response;
}

void exchange_open_response(struct exchange *exchange, struct MHD_Response *response)
{
    const unsigned none = 0;
    if (!response) {
        exchange_answer(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    /* A stream is cut by its own rule, which looks at what it still has to write. */
    setsockopt(exchange->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &none, sizeof(none));
    exchange_add_common_headers(exchange, response);
    exchange->response = response;
    exchange->status = MHD_HTTP_OK;
    exchange->must_close = exchange->must_close || exchange->is_http10;
    exchange_move(exchange, EXCHANGE_OPENING);
}

void exchange_open(struct exchange *exchange, const char *content_type)
{
    struct MHD_Response *response = exchange_stream_response(exchange, content_type);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, EXCHANGE_STREAM_CACHING);
    exchange_open_response(exchange, response);
}

void exchange_end(struct exchange *exchange, bool is_clean)
{
    exchange_move(exchange, is_clean ? EXCHANGE_ENDING : EXCHANGE_GONE);
}

/* Requests. */

const char *exchange_field(const struct exchange *exchange, enum exchange_field field)
{
    return exchange->fields[field];
}

struct text exchange_query(const struct exchange *exchange, const char *name)
{
    struct text value = {0};
    if (exchange->has_query &&
        MHD_lookup_connection_value_n(exchange->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                      &value.bytes, &value.len) == MHD_YES &&
        !value.bytes)
        value.bytes = "";
    return value;
}

const char *exchange_body(const struct exchange *exchange, size_t *len)
{
    *len = exchange->body.len;
    return exchange->body.bytes ? exchange->body.bytes : "";
}
