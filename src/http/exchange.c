/* SPDX-License-Identifier: MIT */
#include "http/exchange.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/exchange_state.h"
#include "http/guard.h"
#include "http/origin.h"
#include "base/percent.h"
#include "http/router.h"

/* libmicrohttpd offers the reader this much; we write to the socket ourselves. */
#define EXCHANGE_BLOCK_BYTES 512u
#define EXCHANGE_HANGUP_GRACE_MS 2000u

/*   head ──► body ──► handling ──► answered ──────────────► (completed)
 *     └─► discard       ├──► held ──► answered
 *                       └──► (opened: answered) ──► streaming ──► ending
 *   held, streaming ──► gone
 */
void exchange_move(struct exchange *exchange, enum exchange_state to)
{
    exchange->state = to;
}

static struct exchange *exchange_of_owner(struct client_owner *owner)
{
    return container_of(owner, struct exchange, owner);
}

/* Letting go of the holder. */

void exchange_release_holder(struct exchange *exchange)
{
    const struct hold_ops *hold = exchange->hold;
    timer_stop(&exchange->shard->wheel, &exchange->timer);
    exchange->hold = NULL;
    if (hold)
        hold->gone(exchange);
}

void exchange_wake(struct exchange *exchange)
{
    if (!exchange->is_in_callback)
        cell_resume(exchange->client->cell, exchange->connection);
}

void exchange_abandon(struct exchange *exchange)
{
    exchange_release_holder(exchange);
    exchange_move(exchange, EXCHANGE_GONE);
    exchange_wake(exchange);
}

static bool exchange_is_suspended(const struct exchange *exchange)
{
    return exchange->state == EXCHANGE_HELD || exchange->state == EXCHANGE_STREAMING;
}

/* A held exchange without anybody to tell waits for the broker: its answer comes whatever the client does. */
static bool exchange_is_releasable(const struct exchange *exchange)
{
    return exchange_is_suspended(exchange) && exchange->hold;
}

/* libmicrohttpd may not see the end of a connection that came together with the last bytes of an unfinished
 * body: what is there is read within a moment, and then the body's time is over. */
static void exchange_hurry_body(struct exchange *exchange)
{
    uint64_t grace_ms = exchange->shard->options->body_timeout_ms;
    exchange_set_deadline(exchange,
                          grace_ms < EXCHANGE_HANGUP_GRACE_MS ? grace_ms : EXCHANGE_HANGUP_GRACE_MS);
}

static void exchange_hung_up(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    if (exchange->state == EXCHANGE_BODY || exchange->state == EXCHANGE_DISCARD)
        exchange_hurry_body(exchange);
    if (exchange->is_settling || !exchange_is_releasable(exchange))
        return;
    shard_count(exchange->shard, METRIC_HANGUPS, 1);
    exchange_abandon(exchange);
}

static void exchange_socket_writable(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    if (exchange->state != EXCHANGE_STREAMING || !exchange->is_blocked)
        return;
    exchange->is_blocked = false;
    if (exchange->hold)
        exchange->hold->writable(exchange);
}

static void exchange_drain(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    if (exchange->hold && exchange->hold->drain)
        exchange->hold->drain(exchange);
}

/* Even when there is no time left, who can be answered without waiting is. */
static void exchange_cut(struct client_owner *owner)
{
    struct exchange *exchange = exchange_of_owner(owner);
    exchange_drain(owner);
    if (exchange_is_releasable(exchange))
        exchange_abandon(exchange);
}

static void exchange_tick(struct client_owner *owner, uint64_t now_ms)
{
    struct exchange *exchange = exchange_of_owner(owner);
    const struct options *options = exchange->shard->options;
    if (exchange->state != EXCHANGE_STREAMING || !exchange->hold)
        return;
    uint64_t silent_ms = now_ms - exchange->wrote_ms;
    if (exchange->is_blocked && silent_ms >= options->slow_client_timeout_ms) {
        shard_count(exchange->shard, METRIC_SLOW_CUT, 1);
        exchange_cut(owner);
    } else if (!exchange->is_blocked && exchange->hold->heartbeat &&
               silent_ms >= options->heartbeat_ms * 5 / 6) {
        exchange->hold->heartbeat(exchange);
    }
}

static bool exchange_is_held(struct client_owner *owner)
{
    return exchange_is_releasable(exchange_of_owner(owner));
}

static const struct client_owner_ops exchange_owner_ops = {
    .hung_up = exchange_hung_up,
    .writable = exchange_socket_writable,
    .tick = exchange_tick,
    .drain = exchange_drain,
    .cut = exchange_cut,
    .is_held = exchange_is_held,
};

bool exchange_is_draining(const struct exchange *exchange)
{
    return exchange->shard->state != SHARD_RUNNING;
}

static enum MHD_Result exchange_send(struct exchange *exchange)
{
    enum MHD_Result result = MHD_queue_response(exchange->connection, exchange->status, exchange->response);
    exchange_drop_response(exchange);
    return result;
}

/* Holding. */

static void exchange_deadline(struct timer *timer)
{
    struct exchange *exchange = container_of(timer, struct exchange, timer);
    if (exchange->state == EXCHANGE_BODY || exchange->state == EXCHANGE_DISCARD) {
        int fd = exchange->fd;
        if (exchange->state == EXCHANGE_BODY)
            door_write_error(exchange->shard, fd, ERROR_BODY_TIMEOUT);
        /* libmicrohttpd then reads the end of the connection and closes it. */
        exchange_move(exchange, EXCHANGE_DISCARD);
        shutdown(fd, SHUT_RD);
    } else if (exchange->hold && exchange->hold->expire) {
        exchange->hold->expire(exchange);
    }
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
    exchange->is_settling = true;
}

bool exchange_settle(struct exchange *exchange)
{
    exchange->is_settling = false;
    if (!exchange->client->has_hung_up)
        return true;
    shard_count(exchange->shard, METRIC_HANGUPS, 1);
    exchange_abandon(exchange);
    return false;
}

void exchange_suspend(struct exchange *exchange)
{
    exchange_move(exchange, EXCHANGE_HELD);
    MHD_suspend_connection(exchange->connection);
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
    if (exchange->state == EXCHANGE_GONE || !exchange->hold)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    exchange_move(exchange, EXCHANGE_STREAMING);
    MHD_suspend_connection(exchange->connection);
    exchange->wrote_ms = exchange->shard->now_ms;
    exchange->hold->writable(exchange);
    return 0;
}

void exchange_open(struct exchange *exchange, const char *content_type)
{
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EXCHANGE_BLOCK_BYTES,
                                                                      exchange_read_stream, exchange, NULL);
    if (!response) {
        exchange_answer(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    bool was_held = exchange->state == EXCHANGE_HELD;
    const unsigned none = 0;
    /* A stream is cut by its own rule, which looks at what it still has to write. */
    setsockopt(exchange->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &none, sizeof(none));
    exchange_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, EXCHANGE_STREAM_CACHING);
    exchange_response_header(response, "X-Accel-Buffering", "no");
    exchange_add_common_headers(exchange, response);
    exchange->response = response;
    exchange->status = MHD_HTTP_OK;
    exchange_move(exchange, EXCHANGE_ANSWERED);
    if (was_held)
        exchange_wake(exchange);
}

ssize_t exchange_write(struct exchange *exchange, const struct iovec *parts, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    /* One part is by far the most frequent, and send() costs the kernel less than sendmsg(). */
    ssize_t sent = count == 1 ? send(exchange->fd, parts->iov_base, parts->iov_len, flags)
                              : sendmsg(exchange->fd, &message, flags);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
        return -errno;
    if (sent > 0) {
        exchange->wrote_ms = exchange->shard->now_ms;
        shard_count(exchange->shard, METRIC_DELIVERED_BYTES, (uint64_t)sent);
    }
    exchange->is_blocked = sent < 0 || (size_t)sent < size;
    return sent < 0 ? 0 : sent;
}

void exchange_end(struct exchange *exchange, bool is_clean)
{
    bool was_streaming = exchange->state == EXCHANGE_STREAMING;
    exchange_release_holder(exchange);
    exchange_move(exchange, is_clean ? EXCHANGE_ENDING : EXCHANGE_GONE);
    if (was_streaming)
        cell_resume(exchange->client->cell, exchange->connection);
}

/* Requests. */

const char *exchange_field(const struct exchange *exchange, enum exchange_field field)
{
    return exchange->fields[field];
}

const char *exchange_header(const struct exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

const char *exchange_query(const struct exchange *exchange, const char *name, size_t *len)
{
    const char *value = NULL;
    size_t value_len = 0;
    if (MHD_lookup_connection_value_n(exchange->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &value_len) != MHD_YES)
        return NULL;
    if (len)
        *len = value_len;
    return value ? value : "";
}

const char *exchange_body(const struct exchange *exchange, size_t *len)
{
    *len = exchange->body.len;
    return exchange->body.bytes ? exchange->body.bytes : "";
}

static void *exchange_begin(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct shard *shard = cls;
    size_t len = strlen(target);
    size_t path_len = strcspn(target, "?");
    struct exchange *exchange = calloc(1, sizeof(*exchange) + len + 1 + path_len + 1);
    if (!exchange)
        return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    exchange->owner.ops = &exchange_owner_ops;
    exchange->shard = shard;
    exchange->client = info->socket_context;
    exchange->connection = connection;
    exchange->fd = exchange->client->watch.fd;
    exchange->begun_ns = clock_monotonic_ns();
    timer_init(&exchange->timer, exchange_deadline);
    memcpy(exchange->target, target, len);
    exchange->path = exchange->target + len + 1;
    if (percent_decode(exchange->path, &exchange->path_len, target, path_len))
        exchange->path = NULL;
    exchange->client->owner = &exchange->owner;
    return exchange;
}

/* Refuses before the body has come: the answer goes straight to the socket, and what still comes is read and
 * dropped, because closing with unread bytes would take the answer away from the client. */
static void exchange_refuse_on_socket(struct exchange *exchange, enum error_code error)
{
    exchange_move(exchange, EXCHANGE_DISCARD);
    door_write_error(exchange->shard, exchange->fd, error);
    exchange_set_deadline(exchange, exchange->shard->options->body_timeout_ms);
}

static enum MHD_Result exchange_take_head(struct exchange *exchange, const char *method, const char *version)
{
    const struct guard_verdict verdict = guard_check(exchange, method, version);
    shard_count(exchange->shard, METRIC_REQUESTS, 1);
    exchange->is_http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    exchange->method = verdict.method;
    if (verdict.error != ERROR_NONE && (verdict.must_close || verdict.has_body)) {
        exchange_refuse_on_socket(exchange, verdict.error);
        return MHD_YES;
    }
    exchange_move(exchange, EXCHANGE_BODY);
    exchange->pending_error = verdict.error;
    if (verdict.error == ERROR_NONE)
        router_choose(exchange);
    if (exchange->pending_error == ERROR_NONE && verdict.content_length > exchange->body_limit) {
        exchange_refuse_on_socket(exchange, ERROR_TOO_LARGE);
        return MHD_YES;
    }
    if (verdict.has_body && exchange->client->has_hung_up)
        exchange_hurry_body(exchange);
    else if (verdict.has_body)
        exchange_set_deadline(exchange, exchange->shard->options->body_timeout_ms);
    return MHD_YES;
}

static enum MHD_Result exchange_take_body(struct exchange *exchange, const char *bytes, size_t *len)
{
    size_t size = *len;
    *len = 0;
    if (exchange->state != EXCHANGE_BODY || exchange->pending_error != ERROR_NONE)
        return MHD_YES;
    if (exchange->body.len + size > exchange->body_limit) {
        exchange_refuse_on_socket(exchange, ERROR_TOO_LARGE);
        return MHD_YES;
    }
    buf_append(&exchange->body, bytes, size);
    if (exchange->body.has_failed)
        exchange->pending_error = ERROR_OUT_OF_MEMORY;
    return MHD_YES;
}

static enum MHD_Result exchange_take_end(struct exchange *exchange)
{
    timer_stop(&exchange->shard->wheel, &exchange->timer);
    exchange_move(exchange, EXCHANGE_HANDLING);
    if (exchange->pending_error != ERROR_NONE)
        exchange_fail(exchange, exchange->pending_error, "%s", error_text(exchange->pending_error));
    else
        exchange->route->handle(exchange);
    if (exchange->state == EXCHANGE_ANSWERED)
        return exchange_send(exchange);
    return exchange->state == EXCHANGE_HELD ? MHD_YES : MHD_NO;
}

static enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                       const char *method, const char *version, const char *upload,
                                       size_t *upload_len, void **context)
{
    struct exchange *exchange = *context;
    enum MHD_Result result = MHD_NO;
    (void)cls;
    (void)connection;
    (void)url;
    if (!exchange)
        return MHD_NO;
    exchange->is_in_callback = true;
    switch (exchange->state) {
    case EXCHANGE_HEAD:
        result = exchange_take_head(exchange, method, version);
        break;
    case EXCHANGE_BODY:
        result =
            *upload_len > 0 ? exchange_take_body(exchange, upload, upload_len) : exchange_take_end(exchange);
        break;
    case EXCHANGE_DISCARD:
        result = *upload_len > 0 ? exchange_take_body(exchange, upload, upload_len) : MHD_NO;
        break;
    case EXCHANGE_ANSWERED:
        result = exchange_send(exchange);
        break;
    case EXCHANGE_HELD:
        result = MHD_YES;
        break;
    case EXCHANGE_HANDLING:
    case EXCHANGE_STREAMING:
    case EXCHANGE_ENDING:
    case EXCHANGE_GONE:
        break;
    }
    exchange->is_in_callback = false;
    return result;
}

static void exchange_log(const struct exchange *exchange)
{
    char path[512];
    char peer[ADDRESS_TEXT_MAX];
    struct address address = {0};
    memcpy(&address.storage, exchange->client->address, sizeof(exchange->client->address));
    address_format(&address, peer);
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(exchange->target, "?"), exchange->target);
    log_event(LOG_DEBUG, "request", LOG_TEXT("method", router_method_name(exchange->method)),
              LOG_TEXT("path", path), LOG_NUMBER("status", exchange->status), LOG_TEXT("peer", peer),
              LOG_NUMBER("microseconds", (clock_monotonic_ns() - exchange->begun_ns) / 1000));
}

static void exchange_free(struct garbage *garbage)
{
    struct exchange *exchange = container_of(garbage, struct exchange, garbage);
    buf_deinit(&exchange->body);
    free(exchange);
}

static void exchange_completed(void *cls, struct MHD_Connection *connection, void **context,
                               enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *context;
    (void)cls;
    (void)connection;
    (void)code;
    if (!exchange)
        return;
    *context = NULL;
    exchange_release_holder(exchange);
    if (log_is_on(LOG_DEBUG))
        exchange_log(exchange);
    exchange_drop_response(exchange);
    exchange->client->owner = NULL;
    shard_reap(exchange->shard, &exchange->garbage, exchange_free);
}

static void exchange_log_library(void *cls, const char *format, va_list arguments)
{
    char text[512];
    (void)cls;
    if (!log_is_on(LOG_DEBUG))
        return;
    vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    log_event(LOG_DEBUG, "libmicrohttpd", LOG_TEXT("text", text));
}

const struct cell_handlers exchange_cell_handlers = {
    .handle = exchange_handle,
    .completed = exchange_completed,
    .begin = exchange_begin,
    .log = exchange_log_library,
};
