/* SPDX-License-Identifier: MIT */
/* How a request comes in: libmicrohttpd's callbacks, from the head to the route and to the end. It has been
 * given a head without a body: the body is read here, while the connection is suspended. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/percent.h"
#include "http/upload.h"
#include "http/exchange_state.h"
#include "http/identity.h"
#include "http/router.h"
#include "shard/feed.h"
#include "shard/socket.h"

static void *intake_begin(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct shard *shard = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct client *client = info->socket_context;
    (void)feed_end(client->watch.fd); /* who begins is being fed */
    size_t len = strlen(target);
    size_t path_len = strcspn(target, "?");
    struct exchange *exchange = malloc(sizeof(*exchange) + len + 1 + path_len + 1);
    if (!exchange)
        return NULL;
    *exchange = (struct exchange){
        .owner.ops = &exchange_owner_ops,
        .shard = shard,
        .client = client,
        .connection = connection,
        .fd = client->watch.fd,
        .is_admin = client->entrance->is_admin,
        .has_query = path_len < len,
        .begun_ns = log_is_on(LOG_DEBUG) ? clock_monotonic_ns() : 0,
        .body_left = client->framing.body_len,
    };
    timer_init(&exchange->timer, exchange_expire);
    memcpy(exchange->target, target, len + 1);
    exchange->path = exchange->target + len + 1;
    if (percent_decode(exchange->path, &exchange->path_len, target, path_len))
        exchange->path = NULL;
    client->owner = &exchange->owner;
    return exchange;
}

/* Refuses before the body has come: the answer goes straight to the socket, which is taken out of the
 * connection so that the client has time to read it. Without a descriptor for that it has none. */
static void intake_refuse(struct exchange *exchange, enum error_code error)
{
    int fd = fcntl(exchange->fd, F_DUPFD_CLOEXEC, 0);
    exchange->status = error_status(error);
    door_write_error(exchange->shard, exchange->fd, error);
    if (fd >= 0) {
        socket_move(exchange->fd, fd);
        farewell_begin(&exchange->shard->farewells, fd);
    }
    exchange_move(exchange, EXCHANGE_GONE);
}

static enum http_method intake_method(const char *method)
{
    for (unsigned bit = METHOD_GET; bit <= METHOD_OPTIONS; bit <<= 1)
        if (strcmp(router_method_name(bit), method) == 0)
            return bit;
    return 0;
}

static enum MHD_Result intake_visit_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                          size_t name_len, const char *value, size_t value_len)
{
    struct exchange *exchange = cls;
    enum exchange_field field = field_find(name, name_len);
    (void)kind;
    (void)value_len;
    /* Of a list over several fields the last one is the nearest proxy's. */
    if (field < FIELD_COUNT && (!exchange->fields[field] || field == FIELD_FORWARDED))
        exchange->fields[field] = value ? value : "";
    return MHD_YES;
}

static enum MHD_Result intake_read_head(struct exchange *exchange, const char *method, const char *version)
{
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, intake_visit_field, exchange);
    shard_count(exchange->shard, METRIC_REQUESTS, 1);
    exchange->is_http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    exchange->method = intake_method(method);
    exchange_move(exchange, EXCHANGE_BODY);
    if (!exchange->path) {
        intake_refuse(exchange, ERROR_BAD_PATH);
        return MHD_NO;
    }
    exchange->identity.is_in_address = exchange_query(exchange, "token").bytes != NULL;
    router_choose(exchange);
    if (exchange->pending_error == ERROR_NONE && exchange->body_left > exchange->body_limit)
        intake_refuse(exchange, ERROR_TOO_LARGE);
    return exchange->state == EXCHANGE_BODY ? MHD_YES : MHD_NO;
}

/* Waits for bytes or an answer. */
static enum MHD_Result intake_rest(struct exchange *exchange)
{
    exchange_rest(exchange);
    return MHD_YES;
}

static enum MHD_Result intake_send(struct exchange *exchange)
{
    enum MHD_Result result = MHD_queue_response(exchange->connection, exchange->status, exchange->response);
    exchange_drop_response(exchange);
    return result;
}

/* Returns whether the route needs an admin, and the request, which is none, is answered. */
static bool intake_refuses_stranger(struct exchange *exchange)
{
    const struct text no_channel = {"", 0};
    char fault[AUTH_FAULT_MAX];
    if (!exchange->route->needs_admin || exchange->is_admin)
        return false;
    enum error_code error = identity_check(exchange, ACCESS_ADMIN, no_channel, fault);
    if (error == ERROR_NO_TOKEN && exchange->shard->options->admin.count > 0)
        router_answer_hidden(exchange);
    else if (error != ERROR_NONE)
        exchange_fail(exchange, error, "%s", fault);
    return error != ERROR_NONE;
}

static enum MHD_Result intake_route(struct exchange *exchange)
{
    exchange_move(exchange, EXCHANGE_HANDLING);
    if (exchange->pending_error != ERROR_NONE)
        exchange_fail(exchange, exchange->pending_error, "%s", error_text(exchange->pending_error));
    else if (!intake_refuses_stranger(exchange))
        exchange->route->handle(exchange);
    if (exchange->state == EXCHANGE_ANSWERED || exchange->state == EXCHANGE_OPENING ||
        exchange->state == EXCHANGE_UPGRADING)
        return intake_send(exchange);
    bool is_waiting = exchange->state == EXCHANGE_PENDING || exchange->state == EXCHANGE_HELD;
    return is_waiting ? intake_rest(exchange) : MHD_NO;
}

/* Moves the exchange to where the state of its body leads; `body` is what has just been read of it. */
static void intake_progress(struct exchange *exchange, enum upload_progress progress)
{
    switch (progress) {
    case UPLOAD_WHOLE:
        exchange_move(exchange, EXCHANGE_READ);
        break;
    case UPLOAD_MORE:
        break;
    case UPLOAD_ENDED:
        exchange_move(exchange, EXCHANGE_GONE);
        break;
    case UPLOAD_MALFORMED:
        intake_refuse(exchange, ERROR_BAD_REQUEST);
        break;
    case UPLOAD_TOO_LARGE:
        intake_refuse(exchange, ERROR_TOO_LARGE);
        break;
    case UPLOAD_NO_MEMORY:
        intake_refuse(exchange, ERROR_CONNECTION_MEMORY);
        break;
    }
}

/* A client that waits for leave to send its body gets it (RFC 9110, section 10.1.1). */
static void intake_await_body(struct exchange *exchange)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (exchange->client->framing.expects_continue) {
        ssize_t sent = socket_write(exchange->fd, text, sizeof(text) - 1);
        (void)sent; /* nothing has been sent before it in answer to this request, so there is room */
    }
    exchange_set_deadline(exchange, exchange->shard->options->body_timeout_ms);
}

static enum MHD_Result intake_read_body(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_BODY)
        intake_progress(exchange, upload_read(exchange));
    if (exchange->state == EXCHANGE_READ)
        return intake_route(exchange);
    if (exchange->state == EXCHANGE_GONE)
        return MHD_NO;
    if (exchange->state == EXCHANGE_BODY)
        intake_await_body(exchange);
    return intake_rest(exchange);
}

void intake_readable(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_BODY)
        intake_progress(exchange, upload_read(exchange));
}

void intake_expire(struct exchange *exchange)
{
    /* What has come in time counts, however late the loop comes to look at it. */
    intake_readable(exchange);
    if (exchange->state == EXCHANGE_BODY)
        intake_refuse(exchange, ERROR_BODY_TIMEOUT);
}

static enum MHD_Result intake_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version, const char *upload,
                                     size_t *upload_len, void **context)
{
    struct exchange *exchange = *context;
    enum MHD_Result result = MHD_NO;
    (void)cls;
    (void)connection;
    (void)url;
    (void)upload;
    (void)upload_len;
    if (!exchange)
        return MHD_NO;
    switch (exchange->state) {
    case EXCHANGE_HEAD:
        result = intake_read_head(exchange, method, version);
        break;
    case EXCHANGE_BODY:
    case EXCHANGE_READ:
        result = intake_read_body(exchange);
        break;
    case EXCHANGE_ANSWERED:
    case EXCHANGE_OPENING:
        result = intake_send(exchange);
        break;
    case EXCHANGE_PENDING:
    case EXCHANGE_HELD:
    case EXCHANGE_HANDLING:
    case EXCHANGE_UPGRADING:
    case EXCHANGE_STREAMING:
    case EXCHANGE_ENDING:
    case EXCHANGE_GONE:
    case EXCHANGE_OVER:
        break;
    }
    return result;
}

static void intake_log(const struct exchange *exchange)
{
    char path[512];
    char peer[ADDRESS_TEXT_MAX];
    struct address address = {0};
    memcpy(&address.storage, exchange->client->asker, sizeof(exchange->client->asker));
    address_format(&address, peer);
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(exchange->target, "?"), exchange->target);
    log_event(LOG_DEBUG, "request", LOG_TEXT("method", router_method_name(exchange->method)),
              LOG_TEXT("path", path), LOG_NUMBER("status", exchange->status), LOG_TEXT("peer", peer),
              LOG_NUMBER("microseconds", (clock_monotonic_ns() - exchange->begun_ns) / 1000));
}

static void intake_completed(void *cls, struct MHD_Connection *connection, void **context,
                             enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *context;
    (void)cls;
    (void)connection;
    if (!exchange)
        return;
    struct client *client = exchange->client;
    bool is_kept =
        code == MHD_REQUEST_TERMINATED_COMPLETED_OK && client->framing.is_kept && !exchange->must_close;
    *context = NULL;
    client->is_whole = code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (log_is_on(LOG_DEBUG))
        intake_log(exchange);
    exchange_move(exchange, EXCHANGE_OVER);
    if (is_kept)
        door_keep(client);
}

static void intake_log_library(void *cls, const char *format, va_list arguments)
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
    .handle = intake_handle,
    .completed = intake_completed,
    .begin = intake_begin,
    .log = intake_log_library,
};
