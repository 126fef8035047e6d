/* SPDX-License-Identifier: MIT */
#pragma once

/* What sluice.lua publishes where presence and channel events are told: "presence1 EVENT TIME\nJSON". Anybody
 * who reaches Redis can write it: hostile input. Any thread. */

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
