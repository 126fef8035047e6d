/* SPDX-License-Identifier: MIT */
#include "core/page.h"

#include <stdlib.h>

#include "base/number.h"

/* A page that has been read is kept this long for others who come back with the same cursor. */
#define PAGE_FORGET_MS 2000u
/* A page that the broker could not read is asked for again after this. */
#define PAGE_RETRY_MS 500u

static void page_free(struct page *page)
{
    timer_stop(page->channel->hub->wheel, &page->timer);
    list_remove(&page->link);
    ring_deinit(&page->request.messages);
    conflation_deinit(&page->newest);
    free(page);
}

uint64_t page_top(const struct page *page)
{
    return number_greater(page->request.log.top, page->channel->log.top);
}

/* Those who wait go on, also those whose start was not known yet. */
static void page_release_fetching(struct page *page)
{
    const uint64_t top = page_top(page);
    struct list released;
    list_init(&released);
    list_splice(&released, &page->fetching);
    list_drain (link, &released) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        if (subscription->state == SUBSCRIPTION_FETCHING)
            channel_resume_subscription(subscription);
        else
            channel_go_on_starting(subscription, top);
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

/* Not when the log was begun anew, or set back, and the letter that says so is still on its way. */
static bool page_is_of_this_log(const struct page *page)
{
    const struct channel *channel = page->channel;
    const struct history_request *request = &page->request;
    const struct forebear *forebear = ancestry_find(&channel->log.ancestry, &request->log.epoch);
    bool is_forebear = forebear && !forebear->is_doubtful && request->log.top <= forebear->shared;
    return request->super.error == ERROR_NONE && request->log.top >= page->least_top &&
           (is_forebear || epoch_equals(&request->log.epoch, &channel->log.epoch));
}

/* Takes what the broker has answered for a page that is still wanted. */
static void page_read(struct page *page)
{
    struct channel *channel = page->channel;
    struct history_request *request = &page->request;
    uint64_t wait_ms = PAGE_FORGET_MS;
    if (!page_is_of_this_log(page)) {
        ring_deinit(&request->messages);
        wait_ms = PAGE_RETRY_MS;
    } else {
        page->is_read = true;
        page->to = request->to;
        if (epoch_equals(&request->log.epoch, &channel->log.epoch))
            channel->log.ancestry = request->log.ancestry;
        channel->log.oldest = number_greater(channel->log.oldest, request->log.oldest);
    }
    timer_arm(channel->hub->wheel, &page->timer, channel->hub->now_ms + wait_ms);
    if (page->is_read)
        page_release_fetching(page);
}

static void page_answered(struct broker_request *super)
{
    struct page *page = container_of(super, struct page, request.super);
    struct channel *channel = page->channel;
    channel->pages_unread--;
    if (list_is_empty(&page->link) || channel->state == CHANNEL_DETACHED)
        page_free(page);
    else
        page_read(page);
    channel_free_when_done(channel);
}

/* Whoever waits for a page that is read in the call has waited for a retry. */
static void page_submit(struct page *page)
{
    struct channel *channel = page->channel;
    page->least_top = channel->log.top;
    if (hub_submit(channel->hub, &page->request.super, BROKER_HISTORY, page_answered))
        page_read(page);
    else
        channel->pages_unread++;
}

struct page *page_request(struct channel *channel, uint64_t from, uint64_t to)
{
    struct page *page = calloc(1, sizeof(*page));
    if (!page)
        return NULL;
    page->channel = channel;
    page->from = from;
    page->to = to;
    ring_init(&page->request.messages);
    list_init(&page->fetching);
    timer_init(&page->timer, page_timer_fired);
    list_init(&page->link);
    list_append(&channel->pages, &page->link);
    page->request.name = (struct text){channel->name, channel->name_len};
    page->request.from = from;
    page->request.to = to;
    channel->hub->refills++;
    page_submit(page);
    return page;
}

struct page *page_find(struct channel *channel, uint64_t offset)
{
    list_for_each (link, &channel->pages) {
        struct page *page = container_of(link, struct page, link);
        if (page->from <= offset && offset <= page->to)
            return page;
    }
    return NULL;
}

struct page *page_find_question(struct channel *channel, uint64_t from)
{
    list_for_each (link, &channel->pages) {
        struct page *page = container_of(link, struct page, link);
        if (page->from == from && page->to < from && !page->is_read)
            return page;
    }
    return NULL;
}

/* Pages begin at multiples of their size, so that subscribers with cursors near each other share them; or
 * behind one that ended early, because it would have been too large. */
struct page *page_request_around(struct channel *channel, uint64_t offset)
{
    uint64_t from = number_greater(offset - offset % CHANNEL_PAGE, channel->log.oldest);
    list_for_each (link, &channel->pages) {
        const struct page *page = container_of(link, struct page, link);
        if (page->is_read && page->to < offset)
            from = number_greater(from, page->to + 1);
    }
    uint64_t to = offset - offset % CHANNEL_PAGE + CHANNEL_PAGE - 1;
    if (channel->window.count > 0 && to >= ring_at(&channel->window, 0)->offset)
        to = ring_at(&channel->window, 0)->offset - 1;
    if (to > channel->log.top)
        to = channel->log.top;
    return page_request(channel, from, to);
}

/* A page that the broker still has leaves the list and frees itself with the answer. Nobody waits for any of
 * them. */
void page_drop_all(struct channel *channel)
{
    list_for_each_safe (link, &channel->pages) {
        struct page *page = container_of(link, struct page, link);
        if (page->is_read || timer_is_armed(&page->timer))
            page_free(page);
        else
            list_remove(&page->link);
    }
}
