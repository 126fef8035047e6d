/* SPDX-License-Identifier: MIT */
#pragma once

/* What a SockJS client sends: a JSON array of strings, or one string, each a message. Pure but for its
 * memory; hostile input; one thread at a time.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"

struct messages {
    struct buf form;            /* what a form's field has been decoded to */
    struct json_walk walk;      /* of an array */
    struct text one;            /* that is alone, with its quotes */
    struct json_value *current; /* NULL when the next one is to be taken */
};

/* Begins with a text, borrowed until messages_deinit. Returns 0, -ENODATA when it is empty, -EINVAL when it
 * is not that, or -ENOMEM; only after 0 is there something to deinit. */
int messages_begin(struct messages *messages, struct text text);

/* The same for the field `d` of an application/x-www-form-urlencoded body. */
int messages_begin_form(struct messages *messages, struct text form);

/* The message that is due, the same one until messages_next. Returns 1, 0 when there is none, or -ENOMEM. */
int messages_get(struct messages *messages, struct text *message);
void messages_next(struct messages *messages);

/* Passes over so many messages, before the first is taken. */
void messages_skip(struct messages *messages, size_t count);

void messages_deinit(struct messages *messages);
