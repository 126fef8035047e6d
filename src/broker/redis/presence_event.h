/* SPDX-License-Identifier: MIT */
#pragma once

/* What sluice.lua publishes where presence and channel events are told: "presence1 EVENT TIME\nJSON"; and, in
 * a Cluster, what happens to logs, on its way there: "life1 EVENT STAMP ENDS NAME". Anybody who reaches Redis
 * can write it: hostile input. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct presence_event {
    struct text word; /* one of those that are told */
    struct text json;
    int64_t time_ms;
};

/* Borrows `bytes`. Returns 0, -ENOENT when it is something else, or -EINVAL. */
int presence_event_parse(struct presence_event *event, const char *bytes, size_t len);

struct life_event {
    char kind;        /* the first letter of `created`, `purged` or `known` */
    struct text text; /* "STAMP ENDS NAME" */
    struct text name; /* of a channel, not a reserved one */
};

/* Borrows the text. Returns 0 or -EINVAL. */
int life_event_parse(struct life_event *event, struct text text);
