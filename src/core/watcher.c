/* SPDX-License-Identifier: MIT */
#include "core/watcher.h"

#include "core/hub.h"

static void watcher_ask(struct watcher *watcher, enum broker_operation operation);

static void watcher_answered(struct broker_request *super)
{
    struct watcher *watcher = container_of(super, struct watcher, request.super);
    bool was_begun = super->operation == BROKER_WATCH;
    watcher->is_asked = false;
    watcher->is_known = was_begun && super->error == ERROR_NONE;
    if (watcher->is_leaving && watcher->is_known)
        watcher_ask(watcher, BROKER_UNWATCH);
    else if (watcher->is_leaving)
        watcher->ops->ended(watcher);
    else
        watcher->ops->ready(watcher, super->error);
}

static void watcher_ask(struct watcher *watcher, enum broker_operation operation)
{
    watcher->is_asked = true;
    if (hub_submit(watcher->hub, &watcher->request.super, operation, watcher_answered))
        watcher_answered(&watcher->request.super);
}

void watcher_begin(struct watcher *watcher, struct hub *hub, const struct watcher_ops *ops,
                   const char *prefix, size_t len)
{
    *watcher = (struct watcher){.ops = ops, .hub = hub};
    list_init(&watcher->link);
    list_append(&hub->watchers, &watcher->link);
    watcher->request.watcher = watcher;
    watcher->request.prefix = prefix;
    watcher->request.prefix_len = len;
    watcher_ask(watcher, BROKER_WATCH);
}

void watcher_end(struct watcher *watcher)
{
    watcher->is_leaving = true;
    list_remove(&watcher->link);
    if (watcher->is_asked)
        return;
    if (watcher->is_known)
        watcher_ask(watcher, BROKER_UNWATCH);
    else
        watcher->ops->ended(watcher);
}
