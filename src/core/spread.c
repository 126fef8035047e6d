/* SPDX-License-Identifier: MIT */
#include "core/spread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "core/channel.h"
#include "core/presence.h"

/* A search for the channels of a stem. The broker has it until it says that it has not. */
struct stem_watch {
    struct watcher watcher;
    struct spread *spread; /* NULL when nobody wants to know any more */
    struct stem *stem;
    bool is_awaited;
    size_t len;
    char prefix[]; /* with the slash */
};

static const struct start spread_from_the_beginning = {.kind = START_EARLIEST};

static struct branch *branch_of(struct subscription *subscription)
{
    return container_of(subscription, struct branch, subscription);
}

/* Whether it is one of the subscriber's own names. */
static bool spread_is_named(const struct spread *spread, const struct subscription *subscription)
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

/* One of the things that were awaited has come. May wake the subscriber, which may leave: the last thing that
 * its caller does. */
static void spread_settle(struct spread *spread)
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

static void spread_fail(struct spread *spread, enum error_code error)
{
    struct subscriber *subscriber = spread->subscriber;
    if (spread->is_joining) {
        spread->error = error;
        return;
    }
    subscriber_leave(subscriber);
    subscriber->ops->fail(subscriber, error);
}

/* A stem has something to tell; the broker's letter is no place to tell it. */
static void spread_tell(struct spread *spread, struct stem *stem, enum reset_reason reason)
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

/* Some channel below cannot be followed, or not any more. */
static void spread_leave_out(struct spread *spread, struct stem *stem, enum reset_reason reason)
{
    bool is_known = spread->leaves_out;
    spread->leaves_out = true;
    if (!is_known)
        spread_tell(spread, stem, reason);
}

static bool spread_has(const struct spread *spread, struct text name)
{
    const struct subscriber *subscriber = spread->subscriber;
    struct branch *branch;
    HASH_FIND(hh, spread->table, name.bytes, name.len, branch);
    for (unsigned i = 0; !branch && i < subscriber->count; i++)
        if (text_equals(subscription_channel(&subscriber->subscriptions[i]), name))
            return true;
    return branch != NULL;
}

static enum error_code spread_add(struct spread *spread, struct text name, bool is_new)
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
    /* The news of a log may be older than the request: until the search is over its messages' times tell. */
    else if (error == ERROR_NONE && spread_add(spread, name, is_new && spread->has_begun) != ERROR_NONE)
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

/* Begins to look for the channels of a stem, in the place of the search that there may be. Returns 0 or
 * -ENOMEM. */
static int stem_search(struct spread *spread, struct stem *stem)
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

/* What the cursor says of a stem. */
static void stem_read_cursor(struct spread *spread, struct stem *stem)
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

static void spread_drop_stem(struct stem *stem)
{
    if (stem->watch) {
        stem->watch->spread = NULL;
        watcher_end(&stem->watch->watcher);
    }
    channel_free_without_log(stem->subscription->channel);
    stem->subscription->channel = NULL;
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
    for (unsigned i = 0; i < spread->stem_count; i++)
        spread_drop_stem(&spread->stems[i]);
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
        if (name.len > stem->watch->len && memcmp(name.bytes, stem->watch->prefix, stem->watch->len) == 0)
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
    bool is_begun_since = branch->is_new || (is_cursor && spread_stem_of(spread, subscription)->is_complete);
    return is_begun_since || start->kind == START_UNKNOWN ? &spread_from_the_beginning : start;
}

static void branch_note(struct spread *spread, struct branch *branch)
{
    list_remove(&branch->woken_link);
    list_remove(&branch->link);
    list_prepend(&spread->branches, &branch->link);
    if (branch->subscription.reset != RESET_NONE)
        list_prepend(&spread->woken, &branch->woken_link);
    else
        list_append(&spread->woken, &branch->woken_link);
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

/* Reading. */

void spread_woken(struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    struct spread *spread = subscriber->spread;
    if (!spread_is_named(spread, subscription))
        branch_note(spread, branch_of(subscription));
    if (!spread->has_begun)
        return;
    if (subscriber->is_blocked)
        channel_make_blocked(subscription);
    else
        subscriber->ops->wake(subscriber, false);
}

static size_t branch_read(struct branch *branch, struct delivery *deliveries, size_t most)
{
    size_t count = channel_read_reset(&branch->subscription, deliveries) ? 1 : 0;
    if (count < most)
        count += channel_read(&branch->subscription, deliveries + count, most - count);
    return count;
}

/* It has nothing to tell now: it is woken when that is over, also where it is blocked. */
static void branch_rest(struct spread *spread, struct branch *branch)
{
    list_remove(&branch->woken_link);
    if (branch->subscription.state == SUBSCRIPTION_FETCHING)
        list_append(&spread->fetching, &branch->woken_link);
    else if (branch->subscription.state == SUBSCRIPTION_LIVE)
        channel_make_waiting(&branch->subscription);
}

static size_t spread_read_branches(struct spread *spread, struct delivery *deliveries, size_t most)
{
    size_t count = 0;
    list_for_each_safe (link, &spread->woken) {
        if (count == most)
            break;
        struct branch *branch = container_of(link, struct branch, woken_link);
        size_t read = branch_read(branch, deliveries + count, most - count);
        if (read == 0)
            branch_rest(spread, branch);
        count += read;
    }
    return count;
}

static size_t spread_read_stems(struct spread *spread, struct delivery *deliveries, size_t most)
{
    size_t count = 0;
    for (unsigned i = 0; i < spread->stem_count && count < most; i++) {
        struct subscription *subscription = spread->stems[i].subscription;
        if (subscription->reset == RESET_NONE)
            continue;
        deliveries[count++] = (struct delivery){.subscription = subscription,
                                                .reset = (enum reset_reason)subscription->reset,
                                                .missed = MISSED_UNKNOWN};
    }
    return count;
}

/* One answer says what a stem has to tell with the next message: who comes back with a cursor of more
 * channels than it has entries for would be told so in every one, at once. */
static bool spread_may_tell(struct spread *spread, size_t before)
{
    struct delivery next;
    return !spread->subscriber->is_brief || before > 0 || spread_read_branches(spread, &next, 1) > 0;
}

size_t spread_read(struct spread *spread, struct delivery *deliveries, size_t most, size_t before)
{
    size_t count = spread_may_tell(spread, before) ? spread_read_stems(spread, deliveries, most) : 0;
    return count + spread_read_branches(spread, deliveries + count, most - count);
}

bool spread_has_gap(struct spread *spread)
{
    struct delivery next;
    bool has_gap = spread_read_stems(spread, &next, 1) > 0;
    list_for_each_safe (link, &spread->woken) {
        struct branch *branch = container_of(link, struct branch, woken_link);
        if (branch_read(branch, &next, 1) == 0)
            branch_rest(spread, branch);
        else
            has_gap = has_gap || !next.message;
    }
    return has_gap;
}

bool spread_is_fetching(const struct spread *spread)
{
    list_for_each (link, &spread->fetching)
        if (container_of(link, struct branch, woken_link)->subscription.state == SUBSCRIPTION_FETCHING)
            return true;
    return false;
}

void spread_block(struct spread *spread)
{
    list_for_each (link, &spread->woken) {
        struct branch *branch = container_of(link, struct branch, woken_link);
        if (branch->subscription.state == SUBSCRIPTION_LIVE)
            channel_make_blocked(&branch->subscription);
    }
}

void spread_yield(struct spread *spread)
{
    struct subscriber *subscriber = spread->subscriber;
    struct delivery next;
    list_for_each_safe (link, &spread->fetching) {
        struct branch *branch = container_of(link, struct branch, woken_link);
        if (branch->subscription.state == SUBSCRIPTION_LIVE)
            branch_note(spread, branch);
    }
    list_for_each (link, &spread->woken) {
        struct branch *branch = container_of(link, struct branch, woken_link);
        if (branch->subscription.state == SUBSCRIPTION_LIVE)
            channel_make_ready(&branch->subscription);
    }
    /* Woken it is all the same, to tell what there is at the start. */
    if (list_is_empty(&spread->woken) || spread_read_stems(spread, &next, 1) > 0)
        timer_arm(subscriber->hub->wheel, &spread->nudge, subscriber->hub->now_ms);
}

void spread_introduce(struct spread *spread, struct persona *persona)
{
    list_for_each (link, &spread->branches) {
        struct subscription *subscription = &container_of(link, struct branch, link)->subscription;
        if (subscription->presence)
            presence_change(subscription->presence, persona);
    }
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

uint64_t subscriber_spread_count(const struct subscriber *subscriber)
{
    return subscriber_is_spread(subscriber) ? subscriber->spread->count : 0;
}

enum completeness subscriber_completeness(const struct subscriber *subscriber)
{
    if (!subscriber_is_spread(subscriber))
        return COMPLETENESS_PLAIN;
    const struct spread *spread = subscriber->spread;
    const uint64_t channels = spread->count + subscriber->count - spread->stem_count;
    for (unsigned i = 0; i < spread->stem_count; i++)
        if (spread->stems[i].subscription->reset != RESET_NONE)
            return COMPLETENESS_PART;
    return spread->leaves_out || channels > CURSOR_CHANNELS_MAX ? COMPLETENESS_PART : COMPLETENESS_WHOLE;
}

/* Cursor. */

/* Where it begins is not known yet: nothing was told of it. */
static bool subscription_has_place(const struct subscription *subscription)
{
    return subscription->state == SUBSCRIPTION_LIVE || subscription->state == SUBSCRIPTION_FETCHING;
}

static size_t spread_append_position(const struct subscription *subscription, char *to, size_t len)
{
    if (len > 0)
        to[len++] = '.';
    return len + subscription_format_position(subscription, to + len);
}

static size_t spread_append_branches(const struct spread *spread, char *to, size_t len, unsigned *room)
{
    list_for_each (link, &spread->branches) {
        const struct branch *branch = container_of(link, const struct branch, link);
        if (*room == 0)
            break;
        if (!subscription_has_place(&branch->subscription))
            continue;
        len = spread_append_position(&branch->subscription, to, len);
        --*room;
    }
    return len;
}

size_t spread_cursor(const struct spread *spread, char *to, unsigned *room)
{
    const struct subscriber *subscriber = spread->subscriber;
    size_t len = 0;
    for (unsigned i = 0; *room > 0 && i < subscriber->count; i++) {
        const struct subscription *named = &subscriber->subscriptions[i];
        if (!subscription_has_place(named))
            continue;
        len = spread_append_position(named, to, len);
        --*room;
    }
    bool is_whole = !spread->leaves_out && spread->count <= *room;
    uint64_t told = is_whole ? spread->count : number_greater(spread->count, CURSOR_CHANNELS_MAX + 1);
    for (unsigned i = 0; i < spread->stem_count; i++) {
        if (len > 0)
            to[len++] = '.';
        len += position_format(to + len, subscription_epoch(spread->stems[i].subscription), told);
    }
    return spread_append_branches(spread, to, len, room);
}
