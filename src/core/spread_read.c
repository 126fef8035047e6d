/* SPDX-License-Identifier: MIT */
/* What a spread has to tell, and its cursor. */

#include "base/number.h"
#include "core/channel.h"
#include "core/presence.h"
#include "core/spread_parts.h"

void branch_note(struct spread *spread, struct branch *branch)
{
    list_remove(&branch->woken_link);
    list_remove(&branch->link);
    list_prepend(&spread->branches, &branch->link);
    if (branch->subscription.reset != RESET_NONE)
        list_prepend(&spread->woken, &branch->woken_link);
    else
        list_append(&spread->woken, &branch->woken_link);
}

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
