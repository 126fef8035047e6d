/* SPDX-License-Identifier: MIT */
/* Where a subscription starts: behind a cursor, at the end of the log, or at what was its end when the
 * request came. */

#include "core/channel.h"
#include "core/page.h"

static void start_finish(struct subscription *subscription)
{
    channel_make_waiting(subscription);
    subscription_attached(subscription);
}

/* Asks the broker where the log stands: it may know of an epoch, or have come so far. */
static void start_ask(struct subscription *subscription, uint64_t from)
{
    struct channel *channel = subscription->channel;
    struct page *page = page_find_question(channel, from);
    if (!page)
        page = page_request(channel, from, from - 1);
    if (page && !page->is_read)
        list_append(&page->fetching, &subscription->link);
    else
        channel_go_on_starting(subscription, page ? page_top(page) : channel->log.top);
}

/* What there is to ask about a cursor: whether the log has come to that offset; for an epoch that is not
 * known, to the last of all, which nobody answers without the engine. 0 when there is nothing. */
static uint64_t start_question(const struct channel *channel, const struct position *position)
{
    const struct forebear *forebear = ancestry_find(&channel->log.ancestry, &position->epoch);
    uint64_t offset = position->offset;
    if (!forebear && !epoch_equals(&position->epoch, &channel->log.epoch))
        return UINT64_MAX;
    if (forebear && offset > forebear->shared)
        offset = forebear->shared;
    return offset > channel->log.top ? offset : 0;
}

/* The broker has been asked, or need not be. */
static void start_at_cursor(struct subscription *subscription, const struct position *position, uint64_t top)
{
    const struct channel *channel = subscription->channel;
    const struct forebear *forebear = ancestry_find(&channel->log.ancestry, &position->epoch);
    subscription->offset = position->offset;
    if (forebear)
        channel_withdraw_subscription(subscription, forebear);
    else if (!epoch_equals(&position->epoch, &channel->log.epoch))
        channel_reset_subscription(subscription, RESET_EPOCH);
    if (subscription->offset > top)
        channel_reset_subscription(subscription, RESET_FUTURE);
    start_finish(subscription);
}

/* The subscription stands at its `now`. */
static void start_at_now(struct subscription *subscription)
{
    const struct start *start = subscription_start(subscription);
    uint64_t before = subscription->offset - (subscription->channel->log.oldest - 1);
    if (start->kind == START_LAST) {
        subscription->offset -= start->last < before ? start->last : before;
        subscription->is_at_oldest = true;
    }
    start_finish(subscription);
}

/* What is known of the messages up to `offset`, and the offset of the first of them; NULL when they have to
 * be read. */
static const struct ring *start_find_ring(struct channel *channel, uint64_t offset, uint64_t *first)
{
    const struct page *page;
    if (channel->window.count > 0 && ring_at(&channel->window, 0)->offset <= offset) {
        *first = ring_at(&channel->window, 0)->offset;
        return &channel->window;
    }
    page = page_find(channel, offset);
    if (!page || !page->is_read)
        return NULL;
    *first = page->from;
    return &page->request.messages;
}

/* Whatever has a later time than this, by the clock of the log, came after the request. Within the
 * millisecond and what is not known of the clock a message counts as before: it is told to nobody as new who
 * may have seen it. */
static int64_t start_limit_ms(const struct subscription *subscription)
{
    int64_t limit_ms;
    /* ATTACH_AT_ONCE is later than any time. */
    if (__builtin_add_overflow((int64_t)subscription_start(subscription)->asked_ms,
                               subscription->channel->request.ahead_ms, &limit_ms))
        return INT64_MAX;
    return limit_ms;
}

/* Steps back over the messages that came after the request. Returns whether one before it was found. */
static bool start_step_back(struct subscription *subscription, const struct ring *ring, uint64_t first)
{
    int64_t limit_ms = start_limit_ms(subscription);
    size_t index = ring_find(ring, subscription->offset + 1);
    while (index > 0 && ring_at(ring, index - 1)->time_ms > limit_ms)
        subscription->offset = ring_at(ring, --index)->offset - 1;
    if (index == 0)
        subscription->offset = first - 1;
    return index > 0;
}

/* Finds the `now` of a request that came before the channel was attached. */
static void start_seek(struct subscription *subscription)
{
    struct channel *channel = subscription->channel;
    bool is_found = false;
    while (!is_found && subscription->offset >= channel->log.oldest) {
        uint64_t first;
        const struct ring *ring = start_find_ring(channel, subscription->offset, &first);
        if (ring) {
            is_found = start_step_back(subscription, ring, first);
            continue;
        }
        struct page *page = page_find(channel, subscription->offset);
        if (!page)
            page = page_request_around(channel, subscription->offset);
        if (!page)
            break;
        if (page->is_read)
            continue;
        list_remove(&subscription->link);
        list_append(&page->fetching, &subscription->link);
        return;
    }
    /* All that is kept came after the request: what is not kept any more may have, too. */
    if (!is_found && subscription->offset < channel->log.top && subscription->offset > 0) {
        subscription->reset = RESET_TRIMMED;
        subscription->missed = MISSED_UNKNOWN;
    }
    start_at_now(subscription);
}

/* The end of the log: what was published before the request may be in the mailbox still. */
static uint64_t start_find_top(struct channel *channel)
{
    struct history_request request = {.name = {channel->name, channel->name_len}, .from = 1};
    if (!channel->is_near || mailbox_is_empty(channel->hub->mailbox))
        return channel->log.top;
    (void)hub_submit(channel->hub, &request.super, BROKER_HISTORY, NULL); /* in the call, it is near */
    bool is_of_this_log =
        request.super.error == ERROR_NONE && epoch_equals(&request.log.epoch, &channel->log.epoch);
    return is_of_this_log ? request.log.top : channel->log.top;
}

static const struct position *start_find_position(const struct channel *channel, const struct start *start)
{
    return start->kind == START_CURSOR ? start_find(start, &channel->log.epoch) : NULL;
}

bool channel_must_ask(const struct channel *channel, const struct start *start)
{
    const struct position *position = start_find_position(channel, start);
    return position && start_question(channel, position) > 0;
}

void channel_start_subscription(struct subscription *subscription, bool is_late)
{
    struct channel *channel = subscription->channel;
    const struct start *start = subscription_start(subscription);
    const struct position *position = start_find_position(channel, start);
    subscription->offset = channel->log.top;
    subscription->serial = channel->serial;
    if (position)
        subscription->subscriber->is_resumed = true;
    if (position && start_question(channel, position) > 0) {
        start_ask(subscription, start_question(channel, position));
    } else if (position) {
        start_at_cursor(subscription, position, channel->log.top);
    } else if (start->kind == START_EARLIEST) {
        subscription->offset = channel->log.oldest - 1;
        subscription->is_at_oldest = true;
        start_finish(subscription);
    } else if (start->kind == START_FIRST) {
        subscription->offset = 0;
        start_finish(subscription);
    } else if (start->kind == START_UNKNOWN) {
        channel_reset_subscription(subscription, RESET_UNKNOWN_ID);
        start_finish(subscription);
    } else if (is_late) {
        subscription->state = SUBSCRIPTION_SEEKING;
        start_seek(subscription);
    } else {
        subscription->offset = start_find_top(channel);
        start_at_now(subscription);
    }
}

void channel_go_on_starting(struct subscription *subscription, uint64_t top)
{
    const struct start *start = subscription_start(subscription);
    if (subscription->state == SUBSCRIPTION_SEEKING)
        start_seek(subscription);
    else
        start_at_cursor(subscription, start_find_position(subscription->channel, start), top);
}
