/* SPDX-License-Identifier: MIT */
#include "http/refusal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "http/errors.h"
#include "http/head.h"
#include "http/negotiation.h"
#include "shard/comeback.h"

void refusal_answer(struct exchange *exchange, enum error_code error, const struct transport *transport)
{
    refusal_answer_saying(exchange, error, transport, error_text(error));
}

void refusal_answer_saying(struct exchange *exchange, enum error_code error,
                           const struct transport *transport, const char *what)
{
    struct buf body = {0};
    uint64_t after_ms = exchange->retry_after_s * (uint64_t)1000;
    if (transport && transport->come_back && errors_passes(error))
        transport->come_back(&body, error == ERROR_STOPPING
                                        ? comeback_ms(exchange->shard)
                                        : after_ms + random_jitter(exchange->shard->options->retry_ms));
    if (body.len == 0 || body.has_failed) {
        buf_deinit(&body);
        exchange_fail(exchange, error, "%s", what);
        return;
    }
    struct MHD_Response *response = exchange_response(body.bytes, body.len, transport->content_type, true);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, EXCHANGE_STREAM_CACHING);
    exchange_answer(exchange, MHD_HTTP_OK, response);
}

void *refusal_make_holder(struct exchange *exchange, size_t size, const struct transport *transport)
{
    bool is_stopping = exchange_is_draining(exchange);
    void *holder = is_stopping ? NULL : calloc(1, size);
    if (!holder)
        refusal_answer(exchange, is_stopping ? ERROR_STOPPING : ERROR_OUT_OF_MEMORY, transport);
    return holder;
}

/* A whole HTTP/1.1 response that closes the connection. Returns its length, at most `size`. */
static size_t refusal_write(char *to, size_t size, unsigned status, const char *type, const char *fields,
                            struct buf *body)
{
    int len = snprintf(to, size,
                       "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
                       "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%.*s",
                       status, MHD_get_reason_phrase_for(status), type, body->len, fields, (int)body->len,
                       body->bytes ? body->bytes : "");
    buf_deinit(body);
    return (size_t)len < size ? (size_t)len : size - 1;
}

size_t refusal_render(const struct options *options, enum error_code error, const char *head, size_t head_len,
                      char *to, size_t size)
{
    struct buf body = {0};
    size_t origin_len;
    bool passes = errors_passes(error);
    const struct transport *transport = passes ? negotiation_find_in_head(head, head_len) : NULL;
    if (!transport || !transport->come_back) {
        errors_render_body(&body, error, error_text(error));
        return refusal_write(to, size, error_status(error), "application/json",
                             passes ? "Retry-After: " ERRORS_RETRY_AFTER "\r\nCache-Control: no-store\r\n"
                                    : "Cache-Control: no-store\r\n",
                             &body);
    }
    /* A browser that finds itself not allowed to read the answer gives up; that the connection ends it takes
     * for the network. */
    if (head_find_field(head, head_len, "Origin", &origin_len))
        return 0;
    transport->come_back(&body, random_jitter(options->retry_ms));
    return refusal_write(to, size, MHD_HTTP_OK, transport->content_type,
                         "Cache-Control: " EXCHANGE_STREAM_CACHING "\r\n", &body);
}
