/* SPDX-License-Identifier: MIT */
#pragma once

/* The commands of crlf, nul and len32: one vocabulary, see docs/TCP.md. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "transport/tcp/framing.h"

struct connection;

/* A frame as a command; borrows from it. */
struct command {
    void (*run)(struct connection *connection, const struct command *command);
    struct text first;  /* the word after the command's */
    struct text second; /* the word after that */
    struct text rest;   /* all that stands after the command's word and one space */
    struct text data;   /* all that stands after the first word and one space */
    struct text third;  /* and after that */
    struct text fourth;
};

/* Splits a frame into what a command may want of it. Hostile input; any thread. */
void command_parse(struct command *command, const char *bytes, size_t len);

/* Runs the command that a frame is. Returns false when it has to wait for publishes: the frame comes again.
 */
bool commands_handle(struct connection *connection, const struct frame *frame);
