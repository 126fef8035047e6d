/* SPDX-License-Identifier: MIT */
#include "core/hub.h"

#include "base/clock.h"
#include "core/channel.h"
#include "core/spread.h"
#include "core/watcher.h"

/* A channel's turn: then the next dirty channel gets its own (section 3.3 of the architecture). */
#define HUB_SLICE_SUBSCRIBERS 64u
/* How often the clock is looked at within a slice. */
#define HUB_CLOCK_EVERY 8u

static void hub_tend_broker(struct timer *timer)
{
    struct hub *hub = container_of(timer, struct hub, tend);
    uint64_t wait_ms = hub->broker->ops->tend(hub->broker);
    timer_arm(hub->wheel, timer, hub->now_ms + wait_ms);
}

void hub_init(struct hub *hub, struct broker *broker, struct mailbox *mailbox, struct timer_wheel *wheel,
              const struct hub_settings *settings)
{
    *hub = (struct hub){.broker = broker, .mailbox = mailbox, .wheel = wheel, .settings = *settings};
    list_init(&hub->dirty);
    list_init(&hub->lingering);
    list_init(&hub->watchers);
    timer_init(&hub->tend, hub_tend_broker);
    hub->now_ms = clock_monotonic_ms();
}

void hub_configure(struct hub *hub, const struct hub_settings *settings)
{
    hub->settings = *settings;
    hub->generation++;
}

bool hub_follows(const struct hub *hub, struct text name)
{
    return hub->settings.follows_any &&
           (channel_name_is_wild(name) || hub->settings.find_terms(hub->settings.context, name).is_followed);
}

void hub_tend(struct hub *hub)
{
    if (hub->broker->ops->tend)
        timer_arm(hub->wheel, &hub->tend, hub->now_ms);
}

bool hub_submit(struct hub *hub, struct broker_request *request, enum broker_operation operation,
                void (*done)(struct broker_request *request))
{
    request->operation = operation;
    request->error = ERROR_NONE;
    request->reply_to = hub->mailbox;
    request->hub = hub;
    request->done = done;
    bool is_answered = hub->broker->ops->submit(hub->broker, request);
    hub->requests_pending += !is_answered;
    return is_answered;
}

void hub_answered(struct broker_request *request)
{
    request->hub->requests_pending--;
    request->done(request);
}

void hub_close(struct hub *hub)
{
    struct channel *channel;
    struct channel *next;
    HASH_ITER (hh, hub->channels, channel, next) {
        channel_close(channel);
    }
}

bool hub_is_idle(const struct hub *hub)
{
    return hub->channel_count == 0 && hub->requests_pending == 0;
}

static void hub_wake_first(struct channel *channel)
{
    struct subscription *subscription = container_of(list_first(&channel->ready), struct subscription, link);
    struct subscriber *subscriber = subscription->subscriber;
    channel_make_waiting(subscription);
    /* Others of its channels may still be attaching; it is woken as a whole when they are. Blocked it may be
     * since it put off reading the rest of history. */
    if (subscriber->pending == 0 && subscriber->is_blocked)
        channel_make_blocked(subscription);
    else if (subscriber->pending == 0)
        subscriber->ops->wake(subscriber, false);
    else if (subscriber_is_spread(subscriber))
        spread_woken(subscription);
}

/* Each subscriber's memory is somewhere else: while one is served, what the next ones need is on its way into
 * the cache. */
static void hub_fetch_ahead(const struct channel *channel)
{
    const struct list *next = channel->ready.next->next;
    if (next == &channel->ready)
        return;
    const char *ahead = container_of(next, const struct subscription, link)->subscriber->ahead;
    __builtin_prefetch(ahead);
    __builtin_prefetch(ahead ? ahead + 64 : NULL);
    __builtin_prefetch(next->next);
    __builtin_prefetch((const char *)next->next - 64);
}

/* Returns whether the time is over. */
static bool hub_serve_slice(struct channel *channel, uint64_t until_ns)
{
    for (unsigned served = 0; served < HUB_SLICE_SUBSCRIBERS && !list_is_empty(&channel->ready); served++) {
        hub_fetch_ahead(channel);
        hub_wake_first(channel);
        if (served % HUB_CLOCK_EVERY == HUB_CLOCK_EVERY - 1 && clock_monotonic_ns() >= until_ns)
            return true;
    }
    return false;
}

bool hub_serve(struct hub *hub, uint64_t budget_ns)
{
    if (list_is_empty(&hub->dirty))
        return false;
    uint64_t until_ns = clock_monotonic_ns() + budget_ns;
    bool is_over = false;
    struct list *link;
    while (!is_over && (link = list_pop(&hub->dirty))) {
        struct channel *channel = container_of(link, struct channel, dirty_link);
        is_over = hub_serve_slice(channel, until_ns) || clock_monotonic_ns() >= until_ns;
        if (list_is_empty(&channel->ready)) {
            /* Waking the last one may have made it ready again and so marked the channel. */
            list_remove(&channel->dirty_link);
            channel_memo_clear(&channel->memo);
            channel_trim(channel);
        } else if (list_is_empty(&channel->dirty_link)) {
            list_append(&hub->dirty, &channel->dirty_link);
        }
    }
    return !list_is_empty(&hub->dirty);
}

void hub_count_subscriptions(struct hub *hub, const char *name, size_t len, uint64_t counts[TRANSPORT_COUNT])
{
    struct channel *channel;
    HASH_FIND(hh, hub->channels, name, len, channel);
    for (unsigned i = 0; channel && i < TRANSPORT_COUNT; i++)
        counts[i] += channel->subscriptions[i];
}

void hub_visit_channels(struct hub *hub, void (*visit)(void *context, const char *name, size_t len),
                        void *context)
{
    for (const struct channel *channel = hub->channels; channel; channel = channel->hh.next)
        if (channel->subscription_count > 0)
            visit(context, channel->name, channel->name_len);
}

void hub_visit_watched(struct hub *hub, void (*visit)(void *context, const char *prefix, size_t len),
                       void *context)
{
    list_for_each (link, &hub->watchers) {
        const struct watcher *watcher = container_of(link, struct watcher, link);
        visit(context, watcher->request.prefix, watcher->request.prefix_len);
    }
}
