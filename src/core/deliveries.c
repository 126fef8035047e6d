/* SPDX-License-Identifier: MIT */
/* What a subscription is to be told next: out of the window, out of pages below it, that something is
 * missing, or between those what is in no log. */

#include "core/channel.h"
#include "core/page.h"

/* Who wants the newest only passes over about this many messages of history in a turn, of which there may be
 * any number before one that is told. */
#define DELIVERIES_PASSED_MOST 512u

struct deliveries {
    struct subscription *subscription;
    struct delivery *at;
    size_t count;
    size_t most;
    uint64_t offset;
    uint32_t serial;
    uint64_t until;  /* offset behind which a transient message comes first */
    unsigned passed; /* messages passed over, because newer ones replace them */
};

static void deliveries_add(struct deliveries *deliveries, struct message *message, uint64_t offset)
{
    deliveries->at[deliveries->count++] = (struct delivery){.subscription = deliveries->subscription,
                                                            .message = message,
                                                            .serial = deliveries->serial,
                                                            .offset = offset};
    deliveries->offset = offset;
}

static void deliveries_add_gap(struct deliveries *deliveries, uint64_t offset)
{
    uint64_t missed = offset - deliveries->offset;
    deliveries_add(deliveries, NULL, offset);
    deliveries->at[deliveries->count - 1].reset = RESET_TRIMMED;
    deliveries->at[deliveries->count - 1].missed = missed;
}

/* Whether a newer message of the same key replaces this one, for who wants the newest only: one in the
 * window, or in the ring that it stands in, of which `newest` tells. */
static bool deliveries_may_skip(const struct deliveries *deliveries, const struct conflation *newest,
                                const struct message *message)
{
    const struct conflation *window = &deliveries->subscription->channel->newest;
    return deliveries->subscription->is_newest &&
           (conflation_newest(window, message->key_hash) > message->offset ||
            (newest && conflation_newest(newest, message->key_hash) > message->offset));
}

/* What follows in the ring; a hole in it is a gap. Returns whether it has moved on. */
static bool deliveries_add_ring(struct deliveries *deliveries, const struct ring *ring,
                                const struct conflation *newest)
{
    const uint64_t before = deliveries->offset;
    size_t index = ring_find(ring, deliveries->offset + 1);
    while (deliveries->count < deliveries->most && index < ring->count) {
        struct message *message = ring_at(ring, index);
        if (message->offset > deliveries->offset + 1) {
            deliveries_add_gap(deliveries, message->offset - 1);
            continue;
        }
        if (message->offset > deliveries->until)
            break;
        if (!deliveries_may_skip(deliveries, newest, message)) {
            deliveries_add(deliveries, message, message->offset);
        } else {
            deliveries->offset = message->offset;
            deliveries->passed++;
        }
        index++;
    }
    return deliveries->offset > before;
}

/* The rest of history in its next turn; until then it counts as one that is being fetched. */
static void deliveries_put_off(struct subscription *subscription)
{
    channel_make_ready(subscription);
    subscription->state = SUBSCRIPTION_FETCHING;
}

/* Below the window: from a page of history. Returns whether it has moved on. */
static bool deliveries_add_page(struct deliveries *deliveries, struct channel *channel)
{
    struct subscription *subscription = deliveries->subscription;
    if (deliveries->passed >= DELIVERIES_PASSED_MOST) {
        deliveries_put_off(subscription);
        return false;
    }
    struct page *page = page_find(channel, deliveries->offset + 1);
    if (!page)
        page = page_request_around(channel, deliveries->offset + 1);
    if (!page)
        return false; /* no memory for it now: tried again with the next message */
    if (deliveries->offset + 1 < channel->log.oldest)
        return true; /* the broker has said what is gone */
    if (page->is_read) {
        if (subscription->is_newest && !page->newest.entries)
            conflation_note_ring(&page->newest, &page->request.messages);
        if (!deliveries_add_ring(deliveries, &page->request.messages, &page->newest))
            deliveries_add_gap(deliveries, page->to);
        return true;
    }
    /* Asked for while what was read before it is being sent. */
    list_remove(&subscription->link);
    list_append(&page->fetching, &subscription->link);
    subscription->state = SUBSCRIPTION_FETCHING;
    return false;
}

/* The same of a transient one, which a later one replaces too. */
static bool deliveries_may_skip_passing(const struct deliveries *deliveries, const struct ring *passing,
                                        size_t index)
{
    const struct message *message = ring_at(passing, index);
    bool is_replaced = deliveries_may_skip(deliveries, NULL, message);
    for (size_t i = index + 1; deliveries->subscription->is_newest && !is_replaced && i < passing->count; i++)
        is_replaced = ring_at(passing, i)->key_hash == message->key_hash;
    return is_replaced;
}

/* The transient message that comes next. Those that its log has passed meanwhile, because something was
 * missing, are passed over: what is told never goes back. */
static struct message *deliveries_find_passing(struct deliveries *deliveries, const struct channel *channel)
{
    const struct ring *passing = &channel->passing;
    uint32_t behind = channel->serial - deliveries->serial;
    if (behind > passing->count)
        behind = (uint32_t)passing->count;
    for (; behind > 0; behind--) {
        size_t index = passing->count - behind;
        if (ring_at(passing, index)->offset >= deliveries->offset &&
            !deliveries_may_skip_passing(deliveries, passing, index))
            break;
    }
    deliveries->serial = channel->serial - behind;
    return behind > 0 ? ring_at(passing, passing->count - behind) : NULL;
}

/* Those that stand behind the place that has been come to. Returns whether the log goes on behind them. */
static bool deliveries_add_passing(struct deliveries *deliveries, const struct channel *channel)
{
    struct message *next = NULL;
    while (channel->passing.count > 0 && deliveries->count < deliveries->most &&
           (next = deliveries_find_passing(deliveries, channel)) && next->offset == deliveries->offset) {
        deliveries->serial++;
        deliveries_add(deliveries, next, deliveries->offset);
    }
    deliveries->until = next ? next->offset : UINT64_MAX;
    return deliveries->count < deliveries->most && deliveries->offset < channel->log.top;
}

bool channel_read_reset(struct subscription *subscription, struct delivery *delivery)
{
    if (subscription->state != SUBSCRIPTION_LIVE || subscription->reset == RESET_NONE)
        return false;
    *delivery = (struct delivery){.subscription = subscription,
                                  .reset = (enum reset_reason)subscription->reset,
                                  .serial = subscription->serial,
                                  .missed = subscription->missed,
                                  .offset = subscription->offset};
    return true;
}

/* What is gone below the window: nothing is missing to who wants what is kept. */
static void deliveries_pass_trimmed(struct deliveries *deliveries, uint64_t offset)
{
    if (deliveries->count == 0 && deliveries->subscription->is_at_oldest)
        deliveries->offset = offset;
    else
        deliveries_add_gap(deliveries, offset);
}

/* What it has passed over with nothing to tell it need not pass over again. Not before a reset, which holds
 * where it stands. */
static void deliveries_keep_progress(const struct deliveries *deliveries)
{
    struct subscription *subscription = deliveries->subscription;
    if (deliveries->count > 0 || subscription->reset != RESET_NONE)
        return;
    subscription->offset = deliveries->offset;
    if (subscription->offset >= subscription->channel->log.top)
        subscription->is_at_oldest = false;
}

size_t channel_read(struct subscription *subscription, struct delivery *to, size_t most)
{
    struct channel *channel = subscription->channel;
    struct deliveries deliveries = {.subscription = subscription,
                                    .at = to,
                                    .most = most,
                                    .offset = subscription->offset,
                                    .serial = subscription->serial,
                                    .until = UINT64_MAX};
    if (subscription->state != SUBSCRIPTION_LIVE)
        return 0;
    if (subscription->subscriber->is_of_log)
        deliveries.serial = channel->serial;
    bool has_moved = true;
    while (has_moved && deliveries_add_passing(&deliveries, channel)) {
        uint64_t next = deliveries.offset + 1;
        if (next < channel->log.oldest)
            deliveries_pass_trimmed(&deliveries, channel->log.oldest - 1);
        else if (channel->window.count > 0 && ring_at(&channel->window, 0)->offset <= next)
            has_moved = deliveries_add_ring(&deliveries, &channel->window, NULL);
        else
            has_moved = deliveries_add_page(&deliveries, channel);
    }
    deliveries_keep_progress(&deliveries);
    return deliveries.count;
}
