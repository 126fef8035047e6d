/* SPDX-License-Identifier: MIT */
#pragma once

/* A command as the JSON text that a client sends (docs/PROTOCOL.md, "Commands"): bytes in, values or an error
 * out. Hostile input; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cursor.h"
#include "core/publish_object.h"
#include "core/subscriber.h"
#include "tables/errors.h"

enum command_op {
    COMMAND_SUBSCRIBE,
    COMMAND_UNSUBSCRIBE,
    COMMAND_PUBLISH,
    COMMAND_HISTORY,
    COMMAND_PING,
    COMMAND_AUTH,
    COMMAND_PRESENCE,
    COMMAND_OP_COUNT
};

/* Channels that one unsubscribe names: all that a conversation may have. */
#define COMMAND_CHANNELS_MAX 1024u

/* Bytes of a ref as it is written, without its quotes. */
#define COMMAND_REF_MAX 64u

/* What a client has marked a command with, and its answer is: a string or an integer, as it was written. */
struct command_ref {
    uint8_t len; /* 0 when there is none */
    char bytes[COMMAND_REF_MAX + 2];
};

struct command_request {
    enum error_code error; /* ERROR_NONE, or `fault` is a sentence and only `ref` counts */
    enum command_op op;
    struct command_ref ref;
    struct text channels;   /* names for command_channels_next; without bytes when none is given */
    unsigned channel_count; /* how many */
    struct start start;
    uint64_t limit;    /* UINT64_MAX when none is given */
    struct text token; /* of COMMAND_AUTH */
    struct text as;    /* checked, as the next two; without bytes when it is not given */
    struct text info;  /* JSON */
    struct text after;
    enum subscriber_policy policy;
    struct publish_wish wish; /* of COMMAND_PUBLISH; its channel is not checked */
    struct publish_object object;
    char fault[PUBLISH_FAULT_MAX];
};

/* Parses; the request borrows from the text. */
void command_request_parse(struct command_request *request, const char *text, size_t len);
void command_request_deinit(struct command_request *request);

/* Goes through the channels of a request that has no error; begun as all zeros. Returns false at the end. A
 * name lives until the next; it has no bytes when memory is out. */
struct command_channels {
    struct json_walk walk;
    struct json_value *decoded;
    bool has_begun;
};
bool command_channels_next(struct command_channels *channels, const struct command_request *request,
                           struct text *name);
void command_channels_deinit(struct command_channels *channels);
