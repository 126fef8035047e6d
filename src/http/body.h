/* SPDX-License-Identifier: MIT */
#pragma once

/* The body of a response that is made of messages: what is large stays where it is, in the messages that
 * everybody shares and that are counted in the memory limit, until it is sent. On the shard's thread.
 */

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/message.h"

/* A body up to this size is put together at once. */
#define BODY_SMALL_BYTES 16384u

struct body_piece;

struct body {
    struct body_piece *pieces;
    size_t count;
    size_t capacity;
    struct buf text; /* all that is not a message's */
    uint64_t size;
    bool has_failed; /* memory ran out; what is there is not whole */
};

/* All zeros is an empty body. */
void body_deinit(struct body *body);

void body_add_text(struct body *body, const char *text, size_t len);

/* Adds bytes that live as long as the message does; takes a reference of its own. */
void body_add_slice(struct body *body, struct message *message, const char *bytes, size_t len);

/* Makes the response, taking the body over; NULL when memory is or was out. One for one connection only,
 * unless the body is small. */
struct MHD_Response *body_response(struct body *body, const char *content_type);

/* The response whose body is the data of the message; for any number of connections. NULL when memory is out.
 */
struct MHD_Response *body_response_of_message(struct message *message, const char *content_type);
