#include "core/channel.h"

#include <stdlib.h>
#include <string.h>

/* A page that has been read is kept this long for others who come back with the same cursor. */
#define PAGE_FORGET_MS 2000u
/* A page that the broker could not read is asked for again after this. */
#define PAGE_RETRY_MS 500u
/* While subscribers wait for their turn the window may grow to this, so that nobody falls off because others
 * come first. */
#define WINDOW_BUSY_COUNT 4096u
#define WINDOW_BUSY_BYTES (16u << 20)

static uint64_t channel_greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void channel_mark_dirty(struct channel *channel)
{
    if (list_is_empty(&channel->dirty_link))
        list_append(&channel->hub->dirty, &channel->dirty_link);
}

static void channel_link(struct subscription *subscription, struct list *list)
{
    list_remove(&subscription->link);
    list_append(list, &subscription->link);
    subscription->state = SUBSCRIPTION_LIVE;
}

void channel_make_ready(struct subscription *subscription)
{
    channel_link(subscription, &subscription->channel->ready);
    channel_mark_dirty(subscription->channel);
}

void channel_make_waiting(struct subscription *subscription)
{
    channel_link(subscription, &subscription->channel->waiting);
}

void channel_make_blocked(struct subscription *subscription)
{
    channel_link(subscription, &subscription->channel->blocked);
}

static void channel_resume_subscription(struct subscription *subscription)
{
    if (subscription->subscriber->is_blocked)
        channel_make_blocked(subscription);
    else
        channel_make_ready(subscription);
}

static void channel_reset_subscription(struct subscription *subscription, enum reset_reason reason)
{
    subscription->reset = (uint8_t)reason;
    subscription->missed = MISSED_UNKNOWN;
    subscription->offset = subscription->channel->oldest - 1;
}

/* Pages of history. */

static void channel_free_when_done(struct channel *channel);

static void page_free(struct page *page)
{
    timer_stop(page->channel->hub->wheel, &page->timer);
    list_remove(&page->link);
    ring_deinit(&page->messages);
    free(page);
}

/* Those who wait go on; those whose cursor was only being checked learn whether it is ahead of the log. */
static void page_release_fetching(struct page *page, uint64_t top)
{
    struct list released;
    list_init(&released);
    list_splice(&released, &page->fetching);
    struct list *link;
    while ((link = list_first(&released))) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        if (subscription->state == SUBSCRIPTION_FETCHING) {
            channel_resume_subscription(subscription);
            continue;
        }
        if (subscription->offset > top)
            channel_reset_subscription(subscription, RESET_FUTURE);
        channel_make_waiting(subscription);
        subscription_attached(subscription);
    }
}

static void page_submit(struct page *page);

/* Fires to ask again after a failure, or to forget a page that was read. */
static void page_timer_fired(struct timer *timer)
{
    struct page *page = container_of(timer, struct page, timer);
    if (page->is_read)
        page_free(page);
    else
        page_submit(page);
}

static void page_answered(struct broker_request *super)
{
    struct history_request *request = container_of(super, struct history_request, super);
    struct page *page = container_of(request, struct page, request);
    struct channel *channel = page->channel;
    struct hub *hub = channel->hub;
    hub->requests_pending--;
    channel->pages_unread--;
    bool is_dropped = list_is_empty(&page->link) || channel->state == CHANNEL_DETACHED;
    if (super->error != ERROR_NONE && !is_dropped) {
        timer_arm(hub->wheel, &page->timer, hub->now_ms + PAGE_RETRY_MS);
        return;
    }
    page->is_read = true;
    page->messages = request->messages;
    ring_init(&request->messages);
    if (!is_dropped && epoch_equals(&request->epoch, &channel->epoch)) {
        channel->oldest = channel_greater(channel->oldest, request->oldest);
        page_release_fetching(page, channel_greater(request->top, channel->top));
    }
    if (is_dropped || page->to < page->from)
        page_free(page);
    else
        timer_arm(hub->wheel, &page->timer, hub->now_ms + PAGE_FORGET_MS);
    channel_free_when_done(channel);
}

static void page_submit(struct page *page)
{
    struct channel *channel = page->channel;
    channel->pages_unread++;
    channel->hub->requests_pending++;
    broker_submit(channel->hub->broker, &page->request.super, BROKER_HISTORY, channel->hub->mailbox,
                  page_answered);
}

/* Asks for [from, to]; with `to` below `from`, only for where the log stands. NULL when memory is out. */
static struct page *page_request(struct channel *channel, uint64_t from, uint64_t to)
{
    struct page *page = calloc(1, sizeof(*page));
    if (!page)
        return NULL;
    page->channel = channel;
    page->from = from;
    page->to = to;
    ring_init(&page->messages);
    ring_init(&page->request.messages);
    list_init(&page->fetching);
    timer_init(&page->timer, page_timer_fired);
    list_init(&page->link);
    list_append(&channel->pages, &page->link);
    page->request.name = channel->name;
    page->request.name_len = channel->name_len;
    page->request.from = from;
    page->request.to = to;
    channel->hub->refills++;
    page_submit(page);
    return page;
}

static struct page *page_find(struct channel *channel, uint64_t offset)
{
    list_for_each (link, &channel->pages) {
        struct page *page = container_of(link, struct page, link);
        if (page->from <= offset && offset <= page->to)
            return page;
    }
    return NULL;
}

/* Pages begin at multiples of their size, so that subscribers with cursors near each other share them. */
static struct page *page_request_around(struct channel *channel, uint64_t offset)
{
    uint64_t from = channel_greater(offset - offset % CHANNEL_PAGE, channel->oldest);
    uint64_t to = offset - offset % CHANNEL_PAGE + CHANNEL_PAGE - 1;
    if (channel->window.count > 0 && to >= ring_at(&channel->window, 0)->offset)
        to = ring_at(&channel->window, 0)->offset - 1;
    if (to > channel->top)
        to = channel->top;
    return page_request(channel, from, to);
}

/* A page that the broker still has leaves the list and frees itself with the answer. Nobody waits for any of
 * them. */
static void channel_drop_pages(struct channel *channel)
{
    list_for_each_safe (link, &channel->pages) {
        struct page *page = container_of(link, struct page, link);
        if (page->is_read || timer_is_armed(&page->timer))
            page_free(page);
        else
            list_remove(&page->link);
    }
}

/* Collecting. */

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
    if (page && page->is_read) {
        if (!collection_take(collection, &page->messages))
            collection_add_gap(collection, page->to);
        return true;
    }
    if (!page)
        page = page_request_around(channel, collection->offset + 1);
    if (!page)
        return false; /* no memory for it now: tried again with the next message */
    /* Asked for while what was collected before it is being sent. */
    list_remove(&subscription->link);
    list_append(&page->fetching, &subscription->link);
    subscription->state = SUBSCRIPTION_FETCHING;
    return false;
}

size_t channel_collect(struct subscription *subscription, struct delivery *deliveries, size_t most)
{
    struct channel *channel = subscription->channel;
    struct collection collection = {subscription, deliveries, 0, most, subscription->offset};
    if (subscription->state != SUBSCRIPTION_LIVE)
        return 0;
    if (subscription->reset != RESET_NONE && most > 0) {
        collection_add(&collection, NULL, subscription->offset);
        deliveries[0].reset = (enum reset_reason)subscription->reset;
        deliveries[0].missed = subscription->missed;
    }
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

/* Attaching, starting, detaching. */

static void channel_free(struct channel *channel)
{
    timer_stop(channel->hub->wheel, &channel->linger);
    timer_stop(channel->hub->wheel, &channel->expiry);
    list_remove(&channel->dirty_link);
    channel_memo_clear(&channel->memo);
    ring_deinit(&channel->window);
    ring_deinit(&channel->request.tail);
    free(channel);
}

static void channel_leave_table(struct channel *channel)
{
    HASH_DEL(channel->hub->channels, channel);
    channel->hub->channel_count--;
}

static void channel_free_when_done(struct channel *channel)
{
    if (channel->state != CHANNEL_DETACHED || channel->pages_unread > 0)
        return;
    channel_drop_pages(channel);
    channel_free(channel);
}

static void channel_detached(struct broker_request *super)
{
    struct channel *channel = container_of(super, struct channel, request.super);
    channel->hub->requests_pending--;
    channel->state = CHANNEL_DETACHED;
    channel_free_when_done(channel);
}

void channel_detach(struct channel *channel)
{
    channel_leave_table(channel);
    channel->state = CHANNEL_DETACHING;
    timer_stop(channel->hub->wheel, &channel->linger);
    timer_stop(channel->hub->wheel, &channel->expiry);
    list_remove(&channel->dirty_link);
    channel_drop_pages(channel);
    channel->hub->requests_pending++;
    broker_submit(channel->hub->broker, &channel->request.super, BROKER_DETACH, channel->hub->mailbox,
                  channel_detached);
}

static void channel_linger_over(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, linger);
    /* An attach that is still unanswered is waited for: the broker has the request. */
    if (channel->state == CHANNEL_ATTACHING)
        timer_arm(channel->hub->wheel, timer,
                  channel->hub->now_ms + channel_greater(channel->hub->settings.linger_ms, 100));
    else
        channel_detach(channel);
}

static void channel_arm_expiry(struct channel *channel)
{
    uint64_t at_ms = ring_next_expiry_ms(&channel->window);
    if (at_ms != UINT64_MAX)
        timer_arm(channel->hub->wheel, &channel->expiry, at_ms);
}

static void channel_expire(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, expiry);
    /* Those who wait for their turn are to get what was there when it came. */
    if (!list_is_empty(&channel->ready)) {
        timer_arm(channel->hub->wheel, timer, channel->hub->now_ms + 1);
        return;
    }
    ring_expire(&channel->window, channel->hub->now_ms);
    channel_arm_expiry(channel);
}

static void channel_fail(struct channel *channel, enum error_code error)
{
    struct list *link;
    channel_leave_table(channel);
    while ((link = list_first(&channel->pending))) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        list_remove(link);
        subscription_failed(subscription, error);
    }
    channel_free(channel);
}

static void channel_attached(struct broker_request *super)
{
    struct channel *channel = container_of(super, struct channel, request.super);
    channel->hub->requests_pending--;
    if (super->error != ERROR_NONE) {
        channel_fail(channel, super->error);
        return;
    }
    channel->state = CHANNEL_ATTACHED;
    channel->epoch = channel->request.epoch;
    channel->top = channel->request.top;
    channel->oldest = channel->request.oldest;
    channel->window = channel->request.tail;
    ring_init(&channel->request.tail);
    channel_arm_expiry(channel);
    struct list pending;
    list_init(&pending);
    list_splice(&pending, &channel->pending);
    struct list *link;
    while ((link = list_first(&pending))) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        list_remove(link);
        channel_start_subscription(subscription, subscription->subscriber->start);
    }
}

static struct channel *channel_new(struct hub *hub, const char *name, size_t len)
{
    struct channel *channel = calloc(1, sizeof(*channel) + len + 1);
    if (!channel)
        return NULL;
    channel->hub = hub;
    channel->state = CHANNEL_ATTACHING;
    ring_init(&channel->window);
    ring_init(&channel->request.tail);
    list_init(&channel->pages);
    list_init(&channel->pending);
    list_init(&channel->waiting);
    list_init(&channel->ready);
    list_init(&channel->blocked);
    list_init(&channel->dirty_link);
    timer_init(&channel->linger, channel_linger_over);
    timer_init(&channel->expiry, channel_expire);
    channel->name_len = (uint8_t)len;
    memcpy(channel->name, name, len);
    return channel;
}

struct channel *channel_get(struct hub *hub, const char *name, size_t len)
{
    struct channel *channel;
    HASH_FIND(hh, hub->channels, name, len, channel);
    if (channel)
        return channel;
    channel = channel_new(hub, name, len);
    if (!channel)
        return NULL;
    HASH_ADD_KEYPTR(hh, hub->channels, channel->name, len, channel);
    if (!channel->hh.tbl) {
        free(channel);
        return NULL;
    }
    hub->channel_count++;
    hub->requests_pending++;
    channel->request.channel = channel;
    channel->request.name = channel->name;
    channel->request.name_len = len;
    channel->request.tail_count = CHANNEL_WINDOW;
    broker_submit(hub->broker, &channel->request.super, BROKER_ATTACH, hub->mailbox, channel_attached);
    return channel;
}

/* A cursor beyond what this shard has seen: the broker knows whether the log has come so far. */
static void channel_check_future(struct subscription *subscription)
{
    struct channel *channel = subscription->channel;
    struct page *page = page_request(channel, subscription->offset, subscription->offset - 1);
    if (page) {
        list_append(&page->fetching, &subscription->link);
        return;
    }
    channel_reset_subscription(subscription, RESET_FUTURE);
    channel_make_waiting(subscription);
    subscription_attached(subscription);
}

static uint64_t channel_offset_of_last(const struct channel *channel, uint64_t last)
{
    uint64_t kept = channel->top - (channel->oldest - 1);
    return channel->top - (last < kept ? last : kept);
}

void channel_start_subscription(struct subscription *subscription, const struct start *start)
{
    const struct channel *channel = subscription->channel;
    const struct position *position = NULL;
    subscription->offset = channel->top;
    if (start->kind == START_EARLIEST)
        subscription->offset = channel->oldest - 1;
    else if (start->kind == START_LAST)
        subscription->offset = channel_offset_of_last(channel, start->last);
    else if (start->kind == START_CURSOR)
        position = start_find(start, &channel->epoch);
    if (position && epoch_equals(&position->epoch, &channel->epoch)) {
        subscription->offset = position->offset;
        if (position->offset > channel->top) {
            channel_check_future(subscription);
            return;
        }
    } else if (position) {
        channel_reset_subscription(subscription, RESET_EPOCH);
    }
    channel_make_waiting(subscription);
    subscription_attached(subscription);
}

void channel_add_subscription(struct channel *channel, struct subscription *subscription)
{
    subscription->channel = channel;
    subscription->state = SUBSCRIPTION_PENDING;
    channel->subscriptions[subscription->subscriber->transport]++;
    channel->subscription_count++;
    timer_stop(channel->hub->wheel, &channel->linger);
    if (channel->state == CHANNEL_ATTACHING)
        list_append(&channel->pending, &subscription->link);
    else
        channel_start_subscription(subscription, subscription->subscriber->start);
}

void channel_remove_subscription(struct subscription *subscription)
{
    struct channel *channel = subscription->channel;
    list_remove(&subscription->link);
    subscription->channel = NULL;
    channel->subscriptions[subscription->subscriber->transport]--;
    if (--channel->subscription_count == 0)
        timer_arm(channel->hub->wheel, &channel->linger,
                  channel->hub->now_ms + channel->hub->settings.linger_ms);
}

void channel_trim(struct channel *channel)
{
    const struct retention *kept = &channel->hub->settings.retention;
    struct retention retention = {kept->count < CHANNEL_WINDOW ? kept->count : CHANNEL_WINDOW, kept->bytes,
                                  0};
    if (!list_is_empty(&channel->ready)) {
        retention.count = channel_greater(retention.count, WINDOW_BUSY_COUNT);
        retention.bytes = channel_greater(retention.bytes, WINDOW_BUSY_BYTES);
    }
    ring_trim(&channel->window, &retention);
}

static void channel_make_all_ready(struct channel *channel)
{
    if (list_is_empty(&channel->waiting))
        return;
    list_splice(&channel->ready, &channel->waiting);
    channel_mark_dirty(channel);
}

void channel_take_message(struct channel *channel, struct message *message)
{
    channel_memo_clear(&channel->memo);
    /* A hole, or an offset already passed, means that letters were lost on the way: what the log has is read
     * again in pages. */
    if (message->offset != channel->top + 1)
        ring_deinit(&channel->window);
    if (message->offset <= channel->top || ring_append(&channel->window, message))
        message_unref(message);
    else if (channel->window.count == 1 || message->ttl_ms > 0)
        channel_arm_expiry(channel);
    channel->top = channel_greater(channel->top, message->offset);
    channel_make_all_ready(channel);
    channel_trim(channel);
}

void channel_take_reset(struct channel *channel, const struct feed *feed)
{
    struct list checking; /* cursors that were being checked against a log that is no more */
    list_init(&checking);
    channel_memo_clear(&channel->memo);
    channel->epoch = feed->epoch;
    channel->top = feed->top;
    channel->oldest = feed->oldest;
    ring_deinit(&channel->window);
    list_for_each (page_link, &channel->pages) {
        struct page *page = container_of(page_link, struct page, link);
        list_for_each_safe (link, &page->fetching) {
            struct subscription *subscription = container_of(link, struct subscription, link);
            channel_reset_subscription(subscription, feed->reason);
            if (subscription->state == SUBSCRIPTION_FETCHING) {
                channel_resume_subscription(subscription);
            } else {
                list_remove(link);
                list_append(&checking, link);
            }
        }
    }
    channel_drop_pages(channel);
    channel_make_all_ready(channel);
    list_for_each (link, &channel->ready)
        channel_reset_subscription(container_of(link, struct subscription, link), feed->reason);
    list_for_each (link, &channel->blocked)
        channel_reset_subscription(container_of(link, struct subscription, link), feed->reason);
    struct list *link;
    while ((link = list_first(&checking))) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        channel_make_waiting(subscription);
        subscription_attached(subscription);
    }
}
