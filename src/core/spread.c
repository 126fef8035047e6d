/* SPDX-License-Identifier: MIT */
#include "core/spread.h"

#include <stdlib.h>
#include <string.h>

#include "core/channel.h"
#include "core/spread_parts.h"

static const struct start spread_from_the_beginning = {.kind = START_FIRST};
static const struct start spread_from_what_is_kept = {.kind = START_EARLIEST};

struct branch *branch_of(struct subscription *subscription)
{
    return container_of(subscription, struct branch, subscription);
}

bool spread_is_named(const struct spread *spread, const struct subscription *subscription)
{
    const struct subscriber *subscriber = spread->subscriber;
    return subscription >= subscriber->subscriptions &&
           subscription < subscriber->subscriptions + subscriber->count;
}

static void branch_free(struct spread *spread, struct branch *branch)
{
    HASH_DEL(spread->table, branch);
    list_remove(&branch->link);
    list_remove(&branch->woken_link);
    channel_remove_subscription(&branch->subscription);
    spread->count--;
    free(branch);
}

/* Beginning. */

/* What is found from now on and was there already begins now. */
static void spread_forget_cursor(struct spread *spread)
{
    struct start *start = spread->start;
    start->kind = START_NOW;
    start->count = 0;
    start->asked_ms = spread->subscriber->hub->now_ms;
    start = realloc(start, offsetof(struct start, at));
    spread->start = start ? start : spread->start;
}

void spread_settle(struct spread *spread)
{
    struct subscriber *subscriber = spread->subscriber;
    if (--spread->awaited > 0)
        return;
    if (spread->has_begun) {
        if (subscriber->ops->searched)
            subscriber->ops->searched(subscriber);
        return;
    }
    spread->has_begun = true;
    spread_forget_cursor(spread);
    subscriber->ops->wake(subscriber, true);
}

void spread_fail(struct spread *spread, enum error_code error)
{
    struct subscriber *subscriber = spread->subscriber;
    if (spread->is_joining) {
        spread->error = error;
        return;
    }
    subscriber_leave(subscriber);
    subscriber->ops->fail(subscriber, error);
}

void spread_tell(struct spread *spread, struct stem *stem, enum reset_reason reason)
{
    struct subscriber *subscriber = spread->subscriber;
    if (stem->subscription->reset != RESET_NONE)
        return;
    stem->subscription->reset = (uint8_t)reason;
    stem->subscription->missed = MISSED_UNKNOWN;
    if (spread->has_begun && !subscriber->is_blocked)
        timer_arm(subscriber->hub->wheel, &spread->nudge, subscriber->hub->now_ms);
}

static void spread_nudged(struct timer *timer)
{
    struct subscriber *subscriber = container_of(timer, struct spread, nudge)->subscriber;
    if (!subscriber->is_blocked)
        subscriber->ops->wake(subscriber, false);
}

void spread_leave_out(struct spread *spread, struct stem *stem, enum reset_reason reason)
{
    bool is_known = spread->leaves_out;
    spread->leaves_out = true;
    if (!is_known)
        spread_tell(spread, stem, reason);
}

bool spread_has(const struct spread *spread, struct text name)
{
    const struct subscriber *subscriber = spread->subscriber;
    struct branch *branch;
    HASH_FIND(hh, spread->table, name.bytes, name.len, branch);
    for (unsigned i = 0; !branch && i < subscriber->count; i++)
        if (text_equals(subscription_channel(&subscriber->subscriptions[i]), name))
            return true;
    return branch != NULL;
}

enum error_code spread_add(struct spread *spread, struct text name, bool is_new)
{
    struct channel *channel;
    enum error_code error = channel_get(spread->subscriber->hub, name.bytes, name.len, &channel);
    if (error != ERROR_NONE)
        return error;
    struct branch *branch = calloc(1, sizeof(*branch));
    if (!branch)
        return ERROR_OUT_OF_MEMORY;
    HASH_ADD_KEYPTR(hh, spread->table, channel->name, name.len, branch);
    if (!branch->hh.tbl) {
        free(branch);
        return ERROR_OUT_OF_MEMORY;
    }
    branch->subscription.subscriber = spread->subscriber;
    branch->is_new = is_new;
    branch->is_awaited = spread->awaited > 0;
    spread->awaited += branch->is_awaited;
    list_init(&branch->subscription.link);
    list_init(&branch->woken_link);
    list_append(&spread->branches, &branch->link);
    spread->count++;
    channel_add_subscription(channel, &branch->subscription);
    return ERROR_NONE;
}

static enum error_code spread_add_stem(struct spread *spread, struct subscription *subscription,
                                       struct text name)
{
    struct stem *stem = &spread->stems[spread->stem_count];
    if (spread->stem_count == CURSOR_PATTERNS_MAX)
        return ERROR_TOO_MANY_CHANNELS;
    subscription->channel = channel_new_without_log(spread->subscriber->hub, name);
    if (!subscription->channel)
        return ERROR_OUT_OF_MEMORY;
    *stem = (struct stem){.subscription = subscription};
    spread->stem_count++;
    stem_read_cursor(spread, stem);
    return ERROR_NONE;
}

/* All are found before one is joined. */
static enum error_code spread_find(struct spread *spread, const struct text *names, struct channel **found)
{
    struct subscriber *subscriber = spread->subscriber;
    enum error_code error = ERROR_NONE;
    for (unsigned i = 0; error == ERROR_NONE && i < subscriber->count; i++) {
        found[i] = NULL;
        error = channel_name_is_wild(names[i])
                    ? spread_add_stem(spread, &subscriber->subscriptions[i], names[i])
                    : channel_get(subscriber->hub, names[i].bytes, names[i].len, &found[i]);
    }
    return error;
}

static void spread_join(struct spread *spread, struct channel *const *found)
{
    struct subscriber *subscriber = spread->subscriber;
    for (unsigned i = 0; i < subscriber->count; i++) {
        if (!found[i])
            continue;
        spread->awaited++;
        channel_add_subscription(found[i], &subscriber->subscriptions[i]);
    }
    for (unsigned i = 0; spread->error == ERROR_NONE && i < spread->stem_count; i++)
        if (stem_search(spread, &spread->stems[i]))
            spread->error = ERROR_OUT_OF_MEMORY;
}

static struct spread *spread_new(struct subscriber *subscriber, const struct start *start)
{
    struct spread *spread = calloc(1, sizeof(*spread));
    struct start *copy = spread ? malloc(sizeof(*copy)) : NULL;
    if (!copy) {
        free(spread);
        return NULL;
    }
    copy->kind = start->kind;
    copy->last = start->last;
    copy->asked_ms = subscriber->hub->now_ms;
    copy->count = start->count;
    memcpy(copy->at, start->at, start->count * sizeof(start->at[0]));
    spread->subscriber = subscriber;
    spread->start = copy;
    spread->awaited = 1;
    spread->is_joining = true;
    list_init(&spread->branches);
    list_init(&spread->woken);
    list_init(&spread->fetching);
    timer_init(&spread->nudge, spread_nudged);
    return spread;
}

enum error_code spread_begin(struct subscriber *subscriber, const struct text *names,
                             const struct start *start)
{
    struct channel *found[CURSOR_CHANNELS_MAX];
    struct spread *spread = spread_new(subscriber, start);
    if (!spread)
        return ERROR_OUT_OF_MEMORY;
    subscriber->pending = SUBSCRIBER_SPREADS;
    subscriber->spread = spread;
    enum error_code error = spread_find(spread, names, found);
    if (error == ERROR_NONE) {
        spread_join(spread, found);
        error = spread->error;
    }
    if (error != ERROR_NONE) {
        spread_end(spread);
        return error;
    }
    spread->is_joining = false;
    subscriber->hub->subscriber_count[subscriber->transport]++;
    spread_settle(spread);
    return ERROR_NONE;
}

void spread_end(struct spread *spread)
{
    struct subscriber *subscriber = spread->subscriber;
    struct branch *branch;
    struct branch *next;
    timer_stop(subscriber->hub->wheel, &spread->nudge);
    HASH_ITER (hh, spread->table, branch, next) {
        branch_free(spread, branch);
    }
    for (unsigned i = 0; i < spread->stem_count; i++) {
        struct subscription *subscription = spread->stems[i].subscription;
        stem_drop(&spread->stems[i]);
        channel_free_without_log(subscription->channel);
        subscription->channel = NULL;
    }
    for (unsigned i = 0; i < subscriber->count; i++)
        if (subscriber->subscriptions[i].channel)
            channel_remove_subscription(&subscriber->subscriptions[i]);
    subscriber->pending = 0;
    subscriber->spread = NULL;
    free(spread->start);
    free(spread);
}

/* Starting. */

/* By which a branch was found. */
static struct stem *spread_stem_of(struct spread *spread, const struct subscription *branch)
{
    const struct text name = subscription_channel(branch);
    for (unsigned i = 0; i < spread->stem_count; i++) {
        struct stem *stem = &spread->stems[i];
        if (stem_covers(stem, name))
            return stem;
    }
    return &spread->stems[0];
}

const struct start *spread_start(const struct subscription *subscription)
{
    struct spread *spread = subscription->subscriber->spread;
    const struct start *start = spread->start;
    if (spread_is_named(spread, subscription))
        return start;
    const struct branch *branch = container_of(subscription, const struct branch, subscription);
    bool is_cursor = start->kind == START_CURSOR;
    /* The news of a log may be older than the cursor. */
    if (is_cursor && start_find(start, subscription_epoch(subscription)))
        return start;
    if (branch->is_new || (is_cursor && spread_stem_of(spread, subscription)->is_complete))
        return &spread_from_the_beginning;
    return start->kind == START_UNKNOWN ? &spread_from_what_is_kept : start;
}

void spread_attached(struct subscription *subscription)
{
    struct spread *spread = subscription->subscriber->spread;
    if (spread_is_named(spread, subscription)) {
        spread_settle(spread);
        return;
    }
    struct branch *branch = branch_of(subscription);
    if (subscription->reset != RESET_NONE || subscription->offset < subscription_top(subscription)) {
        branch_note(spread, branch);
        if (spread->has_begun)
            channel_resume_subscription(subscription);
    }
    bool was_awaited = branch->is_awaited;
    branch->is_awaited = false;
    if (was_awaited)
        spread_settle(spread);
}

void spread_failed(struct subscription *subscription, enum error_code error)
{
    struct spread *spread = subscription->subscriber->spread;
    if (spread_is_named(spread, subscription)) {
        spread_fail(spread, error);
        return;
    }
    struct branch *branch = branch_of(subscription);
    bool was_awaited = branch->is_awaited;
    spread_leave_out(spread, spread_stem_of(spread, subscription), RESET_INCOMPLETE);
    branch_free(spread, branch);
    if (was_awaited)
        spread_settle(spread);
}

/* Rights. */

void subscriber_search_again(struct subscriber *subscriber)
{
    struct spread *spread = subscriber_is_spread(subscriber) ? subscriber->spread : NULL;
    struct branch *branch;
    struct branch *next;
    if (!spread || !subscriber->subscriptions)
        return;
    spread->awaited++;
    spread->is_joining = true;
    if (spread->has_begun)
        spread->start->asked_ms = subscriber->hub->now_ms;
    HASH_ITER (hh, spread->table, branch, next) {
        enum error_code error =
            subscriber->ops->admits(subscriber, subscription_channel(&branch->subscription));
        if (error == ERROR_NONE || error == ERROR_TOO_MANY_CHANNELS)
            continue;
        spread->awaited -= branch->is_awaited;
        branch_free(spread, branch);
    }
    for (unsigned i = 0; i < spread->stem_count; i++)
        if (stem_search(spread, &spread->stems[i]))
            spread->error = ERROR_OUT_OF_MEMORY;
    spread->is_joining = false;
    if (spread->error != ERROR_NONE)
        spread_fail(spread, spread->error);
    else
        spread_settle(spread);
}
