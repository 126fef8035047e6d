/* SPDX-License-Identifier: MIT */
#pragma once

/* Who wants to know of every channel below a prefix: of those that have a log, and of each one that gets one
 * later.
 *
 * Everything runs on the thread of the shard whose hub it is. A holder embeds a struct watcher and may free
 * it after `ended`.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "core/broker.h"

struct hub;
struct watcher;

struct watcher_ops {
    /* A channel; `is_new` when its log was begun after the watcher was. The same one may be told again. */
    void (*found)(struct watcher *watcher, const char *name, size_t len, bool is_new);
    /* All that were there have been told; or (not ERROR_NONE) the broker cannot. Once. */
    void (*ready)(struct watcher *watcher, enum error_code error);
    /* Nothing is called any more. */
    void (*ended)(struct watcher *watcher);
};

struct watcher {
    const struct watcher_ops *ops;
    struct hub *hub;
    struct list link; /* in hub.watchers */
    bool is_asked;    /* the broker has the request */
    bool is_known;    /* the broker tells it of channels */
    bool is_leaving;  /* ends as soon as the broker says so */
    struct watch_request request;
};

/* Begins; `prefix` ends with a slash and lives as long as the watcher. */
void watcher_begin(struct watcher *watcher, struct hub *hub, const struct watcher_ops *ops,
                   const char *prefix, size_t len);

/* Nothing is found any more; `ended` follows, in this call or later. */
void watcher_end(struct watcher *watcher);
