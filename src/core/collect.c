/* SPDX-License-Identifier: MIT */
/* What a subscription is to be told next: out of the window, out of pages below it, or that something is
 * missing. */

#include "core/channel.h"
#include "core/page.h"

struct collection {
    struct subscription *subscription;
    struct delivery *deliveries;
    size_t count;
    size_t most;
    uint64_t offset;
};

static void collection_add(struct collection *collection, struct message *message, uint64_t offset)
{
    collection->deliveries[collection->count++] =
        (struct delivery){.subscription = collection->subscription, .message = message, .offset = offset};
    collection->offset = offset;
}

static void collection_add_gap(struct collection *collection, uint64_t offset)
{
    uint64_t missed = offset - collection->offset;
    collection_add(collection, NULL, offset);
    collection->deliveries[collection->count - 1].reset = RESET_TRIMMED;
    collection->deliveries[collection->count - 1].missed = missed;
}

/* Takes what follows from the ring; a hole in it is a gap. Returns whether it has moved on. */
static bool collection_take(struct collection *collection, const struct ring *ring)
{
    size_t before = collection->count;
    size_t index = ring_find(ring, collection->offset + 1);
    while (collection->count < collection->most && index < ring->count) {
        struct message *message = ring_at(ring, index);
        if (message->offset > collection->offset + 1) {
            collection_add_gap(collection, message->offset - 1);
            continue;
        }
        collection_add(collection, message, message->offset);
        index++;
    }
    return collection->count > before;
}

/* Below the window: from a page of history. Returns whether it has moved on. */
static bool collection_take_page(struct collection *collection, struct channel *channel)
{
    struct subscription *subscription = collection->subscription;
    struct page *page = page_find(channel, collection->offset + 1);
    if (!page)
        page = page_request_around(channel, collection->offset + 1);
    if (!page)
        return false; /* no memory for it now: tried again with the next message */
    if (page->is_read) {
        if (!collection_take(collection, &page->messages))
            collection_add_gap(collection, page->to);
        return true;
    }
    /* Asked for while what was collected before it is being sent. */
    list_remove(&subscription->link);
    list_append(&page->fetching, &subscription->link);
    subscription->state = SUBSCRIPTION_FETCHING;
    return false;
}

bool channel_collect_reset(struct subscription *subscription, struct delivery *delivery)
{
    if (subscription->state != SUBSCRIPTION_LIVE || subscription->reset == RESET_NONE)
        return false;
    *delivery = (struct delivery){.subscription = subscription,
                                  .reset = (enum reset_reason)subscription->reset,
                                  .missed = subscription->missed,
                                  .offset = subscription->offset};
    return true;
}

size_t channel_collect(struct subscription *subscription, struct delivery *deliveries, size_t most)
{
    struct channel *channel = subscription->channel;
    struct collection collection = {subscription, deliveries, 0, most, subscription->offset};
    if (subscription->state != SUBSCRIPTION_LIVE)
        return 0;
    bool has_moved = true;
    while (has_moved && collection.count < most && collection.offset < channel->top) {
        uint64_t next = collection.offset + 1;
        if (next < channel->oldest)
            collection_add_gap(&collection, channel->oldest - 1);
        else if (channel->window.count > 0 && ring_at(&channel->window, 0)->offset <= next)
            has_moved = collection_take(&collection, &channel->window);
        else
            has_moved = collection_take_page(&collection, channel);
    }
    return collection.count;
}
