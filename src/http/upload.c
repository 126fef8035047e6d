/* SPDX-License-Identifier: MIT */
#include "http/upload.h"

#include <errno.h>

#include "http/exchange_state.h"

#define UPLOAD_PIECE_BYTES 65536u
#define UPLOAD_LOOK_BYTES 16384u
/* Bytes read before others have their turn. */
#define UPLOAD_TURN_BYTES (1u << 20)

/* Returns whether there is room for so many more bytes of a body that is wanted; it is dropped otherwise. */
static bool upload_reserve(struct exchange *exchange, size_t more)
{
    if (exchange->pending_error != ERROR_NONE)
        return false;
    if (buf_reserve(&exchange->body, more))
        exchange->pending_error = ERROR_OUT_OF_MEMORY;
    else if (!memory_share_set(&exchange->share, exchange->shard, exchange->body.capacity))
        exchange->pending_error = ERROR_CONNECTION_MEMORY;
    if (exchange->pending_error != ERROR_NONE)
        exchange_drop_body(exchange);
    return exchange->pending_error == ERROR_NONE;
}

static enum upload_progress upload_progress_of(ssize_t got)
{
    if (got < 0 && errno == ENOBUFS)
        return UPLOAD_NO_MEMORY;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? UPLOAD_MORE : UPLOAD_ENDED;
}

/* Of a body with a length. */
static enum upload_progress upload_read_piece(struct exchange *exchange, size_t *read)
{
    size_t want = exchange->body_left < UPLOAD_PIECE_BYTES ? (size_t)exchange->body_left : UPLOAD_PIECE_BYTES;
    bool is_kept = upload_reserve(exchange, want);
    ssize_t got =
        client_read(exchange->client, is_kept ? exchange->body.bytes + exchange->body.len : NULL, want);
    if (got <= 0)
        return upload_progress_of(got);
    *read += (size_t)got;
    exchange->body_left -= (uint64_t)got;
    exchange->body.len += is_kept ? (size_t)got : 0;
    return exchange->body_left == 0 ? UPLOAD_WHOLE : UPLOAD_MORE;
}

static enum upload_progress upload_parse_chunks(struct exchange *exchange, const char *bytes, size_t len)
{
    const char *data;
    size_t data_len;
    size_t at = 0;
    while (at < len && !chunks_are_done(&exchange->chunks)) {
        ssize_t taken = chunks_read(&exchange->chunks, bytes + at, len - at, &data, &data_len);
        if (taken < 0)
            return UPLOAD_MALFORMED;
        at += (size_t)taken;
        exchange->body_seen += data_len;
        if (exchange->body_seen > exchange->body_limit)
            return UPLOAD_TOO_LARGE;
        if (data_len > 0 && upload_reserve(exchange, data_len))
            buf_append(&exchange->body, data, data_len);
    }
    if (client_skip(exchange->client, at))
        return UPLOAD_ENDED;
    return chunks_are_done(&exchange->chunks) ? UPLOAD_WHOLE : UPLOAD_MORE;
}

static enum upload_progress upload_read_chunks(struct exchange *exchange, size_t *read)
{
    char room[UPLOAD_LOOK_BYTES];
    const char *bytes;
    ssize_t got = client_peek(exchange->client, &bytes, room, sizeof(room));
    if (got <= 0)
        return upload_progress_of(got);
    *read += (size_t)got;
    return upload_parse_chunks(exchange, bytes, (size_t)got);
}

enum upload_progress upload_read(struct exchange *exchange)
{
    bool is_chunked = exchange->client->framing.is_chunked;
    size_t read = 0;
    if (!is_chunked && exchange->body_left == 0)
        return UPLOAD_WHOLE;
    while (read < UPLOAD_TURN_BYTES) {
        size_t before = read;
        enum upload_progress progress =
            is_chunked ? upload_read_chunks(exchange, &read) : upload_read_piece(exchange, &read);
        if (progress != UPLOAD_MORE || read == before)
            return progress;
    }
    /* The edge has been told of: only a change of what is watched tells of it again. */
    client_rewatch(exchange->client);
    return UPLOAD_MORE;
}
