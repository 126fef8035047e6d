/* SPDX-License-Identifier: MIT */
#pragma once

/* The answers of the command protocol. Everything runs on the shard's thread. */

#include "base/buf.h"
#include "command/request.h"

struct conversation;

/* Appends `{"op":"…"` and, where the command has one, its ref. */
void command_answer_begin(struct buf *to, const char *op, const struct command_ref *ref);

/* Says what is in the buffer, and empties it; where memory was out, an error. */
void command_answer_say(struct conversation *conversation, const struct command_ref *ref, struct buf *json);

void command_answer_error(struct conversation *conversation, const struct command_ref *ref,
                          enum error_code error, const char *what);

/* The same of an error that is over after so many seconds; 0 when nobody knows. */
void command_answer_error_for(struct conversation *conversation, const struct command_ref *ref,
                              enum error_code error, const char *what, uint32_t retry_after_s);
