/* SPDX-License-Identifier: MIT */
#include "transport/tcp/reply.h"

#include <string.h>

#include "render/render.h"

void reply_append_header(struct buf *to, char mark, uint64_t number)
{
    buf_append_char(to, mark);
    buf_append_u64(to, number);
    buf_append_text(to, "\r\n");
}

void reply_append_map(const struct connection *connection, struct buf *to, uint64_t pairs)
{
    if (connection->protocol == 3)
        reply_append_header(to, '%', pairs);
    else
        reply_append_header(to, '*', 2 * pairs);
}

void reply_append_push(const struct connection *connection, struct buf *to, uint64_t count)
{
    reply_append_header(to, connection->protocol == 3 ? '>' : '*', count);
}

void reply_append_text(struct buf *to, const char *text)
{
    render_resp_bulk(to, text, strlen(text));
}

void reply_append_null(const struct connection *connection, struct buf *to)
{
    buf_append_text(to, connection->protocol == 3 ? "_\r\n" : "$-1\r\n");
}

static void reply_line(struct connection *connection, char mark, const char *text)
{
    struct buf *out = connection_text(connection);
    buf_append_char(out, mark);
    buf_append_text(out, text);
    buf_append_text(out, "\r\n");
}

void reply_status(struct connection *connection, const char *text)
{
    reply_line(connection, '+', text);
}

void reply_error(struct connection *connection, const char *text)
{
    shard_count(connection_shard(connection), METRIC_ERRORS, 1);
    reply_line(connection, '-', text);
}

void reply_number(struct connection *connection, uint64_t number)
{
    reply_append_header(connection_text(connection), ':', number);
}

void reply_bulk(struct connection *connection, const char *bytes, size_t len)
{
    render_resp_bulk(connection_text(connection), bytes, len);
}
