/* SPDX-License-Identifier: MIT */
#pragma once

/* The Redis protocol as a server reads it: commands are arrays of bulk strings, or a line. Hostile input. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "transport/tcp/commands.h"

struct connection;

#define RESP_ARGUMENTS_MAX 1280u
#define RESP_INLINE_MAX 16384u

enum resp_result {
    RESP_WHOLE,
    RESP_PARTIAL,
    RESP_BROKEN, /* `fault` says why; nothing after it can be understood */
};

/* A command; its arguments are borrowed from the bytes, or from `line`. */
struct resp_command {
    const char *bytes; /* that it was read from */
    size_t size;       /* of them */
    const char *fault;
    unsigned count; /* 0 is an empty one, to be ignored */
    struct text arguments[RESP_ARGUMENTS_MAX];
    char line[RESP_INLINE_MAX];
};

/* The next command; a bulk string has at most `limit` bytes. */
enum resp_result resp_read(const char *bytes, size_t len, uint64_t limit, struct resp_command *command);

/* Runs the next command. Returns how many bytes are done with, 0 when it is not whole yet, or -EAGAIN when it
 * has to be looked at again later. */
ssize_t resp_take(struct connection *connection, const char *bytes, size_t len);
