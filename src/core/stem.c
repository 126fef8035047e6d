/* SPDX-License-Identifier: MIT */
/* The search for the channels below a wild name. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/spread_parts.h"

/* A search for the channels of a stem. The broker has it until it says that it has not. */
struct stem_watch {
    struct watcher watcher;
    struct spread *spread; /* NULL when nobody wants to know any more */
    struct stem *stem;
    bool is_awaited;
    size_t len;
    char prefix[]; /* with the slash */
};

static void stem_found(struct watcher *watcher, const char *bytes, size_t len, bool is_new)
{
    struct stem_watch *watch = container_of(watcher, struct stem_watch, watcher);
    struct spread *spread = watch->spread;
    const struct text name = {bytes, len};
    if (!spread || channel_name_is_reserved(text_behind(name, watch->len)) || spread_has(spread, name))
        return;
    struct subscriber *subscriber = spread->subscriber;
    struct stem *stem = watch->stem;
    enum error_code error = subscriber->ops->admits ? subscriber->ops->admits(subscriber, name) : ERROR_NONE;
    if (error == ERROR_TOO_MANY_CHANNELS)
        spread_leave_out(spread, stem, RESET_TOO_MANY);
    if (error != ERROR_NONE)
        return;
    /* The news of a log may be older than the request: until the search is over its messages' times tell. */
    error = spread_add(spread, name, is_new && spread->has_begun);
    /* Who comes back when there is memory again misses nothing. */
    if (error == ERROR_OUT_OF_MEMORY)
        spread_fail(spread, error);
    else if (error != ERROR_NONE)
        spread_leave_out(spread, stem, RESET_INCOMPLETE);
}

static void stem_ready(struct watcher *watcher, enum error_code error)
{
    struct stem_watch *watch = container_of(watcher, struct stem_watch, watcher);
    struct spread *spread = watch->spread;
    bool was_awaited = watch->is_awaited;
    watch->is_awaited = false;
    if (spread && error != ERROR_NONE)
        spread_fail(spread, error);
    else if (spread && was_awaited)
        spread_settle(spread);
}

static void stem_ended(struct watcher *watcher)
{
    free(container_of(watcher, struct stem_watch, watcher));
}

static const struct watcher_ops stem_watcher_ops = {
    .found = stem_found, .ready = stem_ready, .ended = stem_ended};

int stem_search(struct spread *spread, struct stem *stem)
{
    const struct text name = subscription_channel(stem->subscription);
    struct stem_watch *before = stem->watch;
    struct stem_watch *watch = calloc(1, sizeof(*watch) + name.len);
    if (!watch)
        return -ENOMEM;
    watch->spread = spread;
    watch->stem = stem;
    watch->len = name.len - strlen(CHANNEL_BELOW) + 1;
    memcpy(watch->prefix, name.bytes, watch->len);
    watch->is_awaited = true;
    spread->awaited += !before || !before->is_awaited;
    stem->watch = watch;
    if (before)
        before->spread = NULL;
    watcher_begin(&watch->watcher, spread->subscriber->hub, &stem_watcher_ops, watch->prefix, watch->len);
    /* The new one watches already: nothing is missed between them. */
    if (before)
        watcher_end(&before->watcher);
    return 0;
}

void stem_read_cursor(struct spread *spread, struct stem *stem)
{
    struct start *start = spread->start;
    const struct epoch *epoch = subscription_epoch(stem->subscription);
    if (start->kind == START_UNKNOWN)
        spread_tell(spread, stem, RESET_UNKNOWN_ID);
    for (unsigned i = 0; start->kind == START_CURSOR && i < start->count; i++) {
        if (!epoch_equals(&start->at[i].epoch, epoch))
            continue;
        spread->subscriber->is_resumed = true;
        stem->is_complete = start->at[i].offset <= CURSOR_CHANNELS_MAX;
        if (!stem->is_complete)
            spread_tell(spread, stem, RESET_INCOMPLETE);
        break;
    }
}

void stem_drop(struct stem *stem)
{
    if (!stem->watch)
        return;
    stem->watch->spread = NULL;
    watcher_end(&stem->watch->watcher);
}

bool stem_covers(const struct stem *stem, struct text name)
{
    return name.len > stem->watch->len && memcmp(name.bytes, stem->watch->prefix, stem->watch->len) == 0;
}
