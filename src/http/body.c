/* SPDX-License-Identifier: MIT */
#include "http/body.h"

#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"

#define BODY_PIECES_FIRST 16u

struct body_piece {
    struct message *message; /* NULL: the bytes are in the body's text, from `at` on */
    const char *bytes;
    size_t at;
    uint64_t begin; /* in the body */
    size_t len;
};

void body_deinit(struct body *body)
{
    for (size_t i = 0; i < body->count; i++)
        message_unref(body->pieces[i].message);
    free(body->pieces);
    buf_deinit(&body->text);
    *body = (struct body){0};
}

static struct body_piece *body_add_piece(struct body *body)
{
    if (body->count == body->capacity) {
        size_t capacity = body->capacity ? body->capacity * 2 : BODY_PIECES_FIRST;
        struct body_piece *pieces = realloc(body->pieces, capacity * sizeof(*pieces));
        if (!pieces) {
            body->has_failed = true;
            return NULL;
        }
        body->pieces = pieces;
        body->capacity = capacity;
    }
    struct body_piece *piece = &body->pieces[body->count++];
    *piece = (struct body_piece){.begin = body->size};
    return piece;
}

void body_add_text(struct body *body, const char *text, size_t len)
{
    struct body_piece *last = body->count > 0 ? &body->pieces[body->count - 1] : NULL;
    size_t at = body->text.len;
    if (!last || last->message)
        last = body_add_piece(body);
    if (!last)
        return;
    if (last->len == 0)
        last->at = at;
    buf_append(&body->text, text, len);
    body->has_failed = body->has_failed || body->text.has_failed;
    last->len += len;
    body->size += len;
}

void body_add_slice(struct body *body, struct message *message, const char *bytes, size_t len)
{
    struct body_piece *piece = body_add_piece(body);
    if (!piece)
        return;
    piece->message = message_ref(message);
    piece->bytes = bytes;
    piece->len = len;
    body->size += len;
}

/* The piece that has the byte at `position`, which is in the body. */
static size_t body_find(const struct body *body, uint64_t position)
{
    size_t low = 0;
    size_t high = body->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (body->pieces[middle].begin <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static size_t body_read(const struct body *body, uint64_t position, char *to, size_t size)
{
    size_t copied = 0;
    for (size_t i = body_find(body, position); copied < size && i < body->count; i++) {
        const struct body_piece *piece = &body->pieces[i];
        const char *bytes = piece->message ? piece->bytes : body->text.bytes + piece->at;
        size_t skip = (size_t)(position + copied - piece->begin);
        size_t len = piece->len - skip < size - copied ? piece->len - skip : size - copied;
        memcpy(to + copied, bytes + skip, len);
        copied += len;
    }
    return copied;
}

/* Large bodies: libmicrohttpd asks for a block at a time. */

static uint64_t body_overhead(const struct body *body)
{
    return sizeof(*body) + body->capacity * sizeof(*body->pieces) + body->text.capacity + BODY_SMALL_BYTES;
}

static ssize_t body_read_block(void *cls, uint64_t position, char *to, size_t size)
{
    return (ssize_t)body_read(cls, position, to, size);
}

static void body_free(void *cls)
{
    struct body *body = cls;
    message_memory_remove(body_overhead(body));
    body_deinit(body);
    free(body);
}

static struct MHD_Response *body_respond_in_blocks(struct body *body)
{
    struct body *kept = malloc(sizeof(*kept));
    if (!kept)
        return NULL;
    *kept = *body;
    struct MHD_Response *response =
        MHD_create_response_from_callback(kept->size, BODY_SMALL_BYTES, body_read_block, kept, body_free);
    if (!response) {
        free(kept);
        return NULL;
    }
    message_memory_add(body_overhead(kept));
    *body = (struct body){0};
    return response;
}

static struct MHD_Response *body_respond_at_once(const struct body *body)
{
    char *bytes = malloc(body->size + 1);
    if (!bytes)
        return NULL;
    (void)body_read(body, 0, bytes, body->size); /* all of it is there */
    return exchange_response(bytes, body->size, NULL, true);
}

struct MHD_Response *body_response(struct body *body, const char *content_type)
{
    struct MHD_Response *response = NULL;
    if (!body->has_failed)
        response = body->size <= BODY_SMALL_BYTES ? body_respond_at_once(body) : body_respond_in_blocks(body);
    body_deinit(body);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    return response;
}

static void body_release_message(void *cls)
{
    message_unref(cls);
}

struct MHD_Response *body_response_of_message(struct message *message, const char *content_type)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        message->size, (void *)(uintptr_t)message_data(message), body_release_message, message_ref(message));
    if (!response) {
        message_unref(message);
        return NULL;
    }
    exchange_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    return response;
}
