/* SPDX-License-Identifier: MIT */
#pragma once

/* Replies of the Redis protocol, RESP2 and RESP3. */

#include "transport/tcp/connection.h"

/* A mark and a number, as `*3`. */
void reply_append_header(struct buf *to, char mark, uint64_t number);

/* A map of `pairs`: in RESP2 an array of twice as many. */
void reply_append_map(const struct connection *connection, struct buf *to, uint64_t pairs);

/* Out of band: an array in RESP2, a push in RESP3. */
void reply_append_push(const struct connection *connection, struct buf *to, uint64_t count);

void reply_append_text(struct buf *to, const char *text); /* a bulk string */
void reply_append_null(const struct connection *connection, struct buf *to);

/* `+text`, `:number`, a bulk string, and `-text`: whole replies, written to the connection. */
void reply_status(struct connection *connection, const char *text);
void reply_number(struct connection *connection, uint64_t number);
void reply_bulk(struct connection *connection, const char *bytes, size_t len);
void reply_error(struct connection *connection, const char *text);
