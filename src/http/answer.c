/* SPDX-License-Identifier: MIT */
/* The answers of exchanges: made, shared, sent. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"
#include "http/errors.h"
#include "http/exchange_state.h"
#include "http/identity.h"
#include "http/origin.h"
#include "http/router.h"
#include "http/transport.h"
#include "http/upgrade.h"
#include "shard/comeback.h"

#define EXCHANGE_MESSAGE_MAX 1024u
/* Of answers that are no larger each connection has one anyhow. */
#define EXCHANGE_LITTLE_BYTES 4096u

struct MHD_Response *exchange_response(const char *body, size_t len, const char *content_type, bool take)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        len, (void *)(uintptr_t)body, take ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_MUST_COPY);
    if (response && content_type)
        exchange_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (!response && take)
        free((void *)(uintptr_t)body);
    return response;
}

void exchange_response_header(struct MHD_Response *response, const char *name, const char *value)
{
    /* It only fails without memory or for a value that is no header's; both leave an answer that still says
     * what it must. */
    (void)MHD_add_response_header(response, name, value);
}

/* A page of another site does not get what is in channels as an image, a script or a style (Fetch standard,
 * section 3.7); who is allowed asks for it by CORS. Files, and pictures and scripts that are made for others,
 * are for everybody. */
static void exchange_add_resource_policy(struct MHD_Response *response)
{
    exchange_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
}

static bool exchange_is_for_everybody(const struct exchange *exchange)
{
    const struct transport *transport = exchange->transport;
    return exchange->origin == ORIGIN_OPEN ||
           (transport && (transport->call || transport->is_for_embedding)) ||
           (exchange->route && exchange->route->is_for_embedding);
}

void exchange_add_common_headers(struct exchange *exchange, struct MHD_Response *response)
{
    exchange_response_header(response, "X-Content-Type-Options", "nosniff");
    if (exchange->identity.is_in_address)
        exchange_response_header(response, "Referrer-Policy", "no-referrer");
    origin_add_headers(exchange, response);
    if (!exchange_is_for_everybody(exchange))
        exchange_add_resource_policy(response);
    if (exchange->transport && exchange->transport->policy)
        exchange_response_header(response, "Content-Security-Policy", exchange->transport->policy);
    if (exchange_is_draining(exchange)) {
        exchange_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
        exchange->must_close = true;
    }
}

void exchange_drop_response(struct exchange *exchange)
{
    if (exchange->shared)
        shared_answer_unref(exchange->shared);
    else if (exchange->response)
        MHD_destroy_response(exchange->response);
    exchange->shared = NULL;
    exchange->response = NULL;
}

/* It has its answer: nobody holds it any more, and libmicrohttpd goes on with it. */
static void exchange_become_answered(struct exchange *exchange, unsigned status,
                                     struct MHD_Response *response)
{
    if (status >= 400)
        shard_count(exchange->shard, METRIC_ERRORS, 1);
    exchange->response = response;
    exchange->status = status;
    exchange_move(exchange, EXCHANGE_ANSWERED);
}

bool exchange_reserve_answer(struct exchange *exchange, size_t bytes)
{
    if (memory_share_set(&exchange->share, exchange->shard, number_greater(exchange->body.capacity, bytes)))
        return true;
    exchange_drop_body(exchange);
    return false;
}

void exchange_count_answer(struct exchange *exchange, size_t bytes)
{
    exchange_drop_body(exchange);
    if (bytes > EXCHANGE_LITTLE_BYTES)
        memory_share_hold(&exchange->share, exchange->shard, bytes);
}

void exchange_answer(struct exchange *exchange, unsigned status, struct MHD_Response *response)
{
    if (!response) {
        response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        status = MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    if (!response) {
        exchange_move(exchange, EXCHANGE_GONE);
        return;
    }
    exchange_add_common_headers(exchange, response);
    exchange_become_answered(exchange, status, response);
}

bool exchange_can_share(const struct exchange *exchange)
{
    return exchange->origin == ORIGIN_NONE && !exchange->identity.is_in_address &&
           !exchange_is_draining(exchange);
}

struct shared_answer *exchange_share(unsigned status, struct MHD_Response *response)
{
    struct shared_answer *answer = response ? malloc(sizeof(*answer)) : NULL;
    if (!answer) {
        if (response)
            MHD_destroy_response(response);
        return NULL;
    }
    exchange_response_header(response, "X-Content-Type-Options", "nosniff");
    exchange_response_header(response, MHD_HTTP_HEADER_VARY, "Origin");
    exchange_add_resource_policy(response);
    *answer = (struct shared_answer){.references = 1, .status = status, .response = response};
    return answer;
}

struct shared_answer *shared_answer_ref(struct shared_answer *answer)
{
    answer->references++;
    return answer;
}

void shared_answer_unref(struct shared_answer *answer)
{
    if (!answer || --answer->references > 0)
        return;
    MHD_destroy_response(answer->response);
    free(answer);
}

void exchange_answer_shared(struct exchange *exchange, struct shared_answer *answer)
{
    exchange->shared = shared_answer_ref(answer);
    exchange_become_answered(exchange, answer->status, answer->response);
}

/* Takes the buffer over and empties it. NULL when memory is or was out. */
static struct MHD_Response *exchange_buf_response(struct buf *body, const char *content_type)
{
    struct MHD_Response *response = NULL;
    if (!body->has_failed) {
        response = exchange_response(body->bytes, body->len, content_type, true);
        *body = (struct buf){0};
    }
    buf_deinit(body);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return response;
}

void exchange_answer_json(struct exchange *exchange, unsigned status, struct buf *json)
{
    exchange_count_answer(exchange, json->capacity);
    exchange_answer(exchange, status, exchange_buf_response(json, "application/json"));
}

/* A page learns no more of a script that was refused than that it was. */
static void exchange_fail_by_call(struct exchange *exchange, struct buf *json)
{
    const struct transport *transport = exchange->transport;
    struct buf body = {.has_failed = json->has_failed};
    if (!json->has_failed)
        transport->call(&body, exchange_query(exchange, "callback"),
                        (struct text){json->bytes, json->len - 1}); /* without the line's end */
    buf_deinit(json);
    shard_count(exchange->shard, METRIC_ERRORS, 1);
    exchange_answer(exchange, MHD_HTTP_OK, exchange_buf_response(&body, transport->content_type));
}

void exchange_add_comeback(const struct exchange *exchange, struct MHD_Response *response)
{
    const struct shard *shard = exchange->shard;
    struct buf where = {0};
    char seconds[16];
    snprintf(seconds, sizeof(seconds), "%u", (unsigned)comeback_s(shard));
    exchange_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    comeback_append_alternatives(&where, shard, "");
    buf_append(&where, "", where.len > 0);
    if (where.len > 0 && !where.has_failed)
        exchange_response_header(response, "Sluice-Alternatives", where.bytes);
    buf_deinit(&where);
}

static void exchange_add_retry_after(const struct exchange *exchange, struct MHD_Response *response,
                                     enum error_code error)
{
    char seconds[16];
    if (error == ERROR_STOPPING) {
        exchange_add_comeback(exchange, response);
        return;
    }
    snprintf(seconds, sizeof(seconds), "%u", (unsigned)exchange->retry_after_s);
    exchange_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER,
                             exchange->retry_after_s > 0 ? seconds : ERRORS_RETRY_AFTER);
}

void exchange_fail(struct exchange *exchange, enum error_code error, const char *format, ...)
{
    char message[EXCHANGE_MESSAGE_MAX];
    struct buf json = {0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    errors_render_body(&json, error, message);
    if (exchange->transport && exchange->transport->call) {
        exchange_fail_by_call(exchange, &json);
        return;
    }
    struct MHD_Response *response = exchange_buf_response(&json, "application/json");
    if (response && errors_passes(error))
        exchange_add_retry_after(exchange, response, error);
    if (response)
        identity_add_challenge(response, error);
    if (response && error == ERROR_METHOD)
        router_add_allow(exchange, response);
    if (response && error == ERROR_UPGRADE_REQUIRED)
        upgrade_add_headers(response);
    exchange_answer(exchange, error_status(error), response);
}
