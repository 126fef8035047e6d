/* SPDX-License-Identifier: MIT */
#pragma once

/* What the option `tcp` says of a listener: ADDRESS [framing=…] [feed=…] [input=…] [default-channel=…]
 * [ping=SECONDS] [mode=OCTAL]. See docs/TCP.md. Any thread. */

#include <stdint.h>

#include "core/name_list.h"
#include "shard/entrance.h"
#include "transport/tcp/framing.h"

#define DECLARATION_FAULT_MAX PAIRS_FAULT_MAX

/* What a client's frames mean. */
enum tcp_input { INPUT_COMMAND, INPUT_ECHO, INPUT_IGNORE, INPUT_PUBLISH };

struct declaration {
    struct entrance entrance; /* first: the keys of both are read together */
    enum framing framing;
    enum tcp_input input;
    struct channel_name publish_to; /* of INPUT_PUBLISH */
    struct channel_name preset;     /* the channel that is meant when a command names none */
    struct name_list feed;
    uint64_t ping_ms; /* 0 is never */
};

/* Parses `text`. Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence; only after 0 is there something to
 * deinit. */
int declaration_parse(struct declaration *declaration, const char *text, char fault[DECLARATION_FAULT_MAX]);
void declaration_deinit(struct declaration *declaration);

/* What is spoken before the client has said anything: not known for FRAMING_AUTO. */
enum framing declaration_first_framing(const struct declaration *declaration);
