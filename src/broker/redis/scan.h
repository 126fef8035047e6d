/* SPDX-License-Identifier: MIT */
#pragma once

/* The channels that one server has: SCAN over their hashes, a step at a time. */

#include <stdbool.h>

#include "broker/redis/answer.h"
#include "broker/redis/call.h"

struct scan {
    struct call call;
    char cursor[ANSWER_CURSOR_MAX];
    bool is_wanted; /* the owner may say that it is not: then it ends with the next answer */
    /* A channel; several times perhaps. */
    void (*found)(struct scan *scan, const char *name, size_t len);
    /* Once, possibly at once. May free the scan, or begin it again. */
    void (*ended)(struct scan *scan, enum error_code error);
};

/* Scans the server, with `found` and `ended` set. */
void scan_begin(struct scan *scan, struct redis_server *server);
