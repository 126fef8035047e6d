/* SPDX-License-Identifier: MIT */
#include "core/channel.h"

#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "core/page.h"
#include "core/presence.h"

/* While subscribers wait for their turn the window may grow to this, so that nobody falls off because others
 * come first. */
#define WINDOW_BUSY_COUNT 4096u
#define WINDOW_BUSY_BYTES (16u << 20)
/* Of the transient messages that somebody is behind the newest are kept, so many and of so many bytes. */
#define PASSING_COUNT 256u
#define PASSING_BYTES (1u << 20)
/* A broker that was away is asked again after this. */
#define CHANNEL_RETRY_MS 250u

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

void channel_resume_subscription(struct subscription *subscription)
{
    if (subscription->subscriber->is_blocked)
        channel_make_blocked(subscription);
    else
        channel_make_ready(subscription);
}

void channel_reset_subscription(struct subscription *subscription, enum reset_reason reason)
{
    subscription->reset = (uint8_t)reason;
    subscription->missed = MISSED_UNKNOWN;
    subscription->offset = subscription->channel->log.oldest - 1;
}

void channel_withdraw_subscription(struct subscription *subscription, const struct forebear *forebear)
{
    const uint64_t offset = subscription->offset;
    uint64_t gone = offset > forebear->shared ? offset - forebear->shared : 0;
    if (gone > 0)
        subscription->offset = forebear->shared;
    if (forebear->is_doubtful) {
        /* Who was told of a gap, and of nothing since, knows of this one. */
        gone = subscription->is_after_gap ? 0 : MISSED_UNKNOWN;
        subscription->offset = number_greater(subscription->offset, subscription->channel->log.oldest - 1);
    }
    if (gone > 0 && subscription->reset == RESET_NONE) {
        subscription->reset = RESET_FAILOVER;
        subscription->missed = gone;
    } else if (gone > 0 && subscription->reset == RESET_FAILOVER &&
               __builtin_add_overflow(subscription->missed, gone, &subscription->missed)) {
        subscription->missed = MISSED_UNKNOWN;
    }
}

/* Lingering. */

static void channel_stop_lingering(struct channel *channel)
{
    if (list_is_empty(&channel->linger_link))
        return;
    list_remove(&channel->linger_link);
    channel->hub->lingering_count--;
}

/* Somebody may come back. Where too many linger the one that was left longest ago goes, in a later turn: this
 * one may be in use further up. */
static void channel_begin_lingering(struct channel *channel)
{
    struct hub *hub = channel->hub;
    timer_arm(hub->wheel, &channel->linger, hub->now_ms + hub->settings.linger_ms);
    if (channel->state != CHANNEL_ATTACHED)
        return;
    channel_stop_lingering(channel); /* of an attach whose subscribers have left while they were served */
    list_append(&hub->lingering, &channel->linger_link);
    if (++hub->lingering_count <= hub->settings.linger_most)
        return;
    struct channel *oldest = container_of(list_first(&hub->lingering), struct channel, linger_link);
    channel_stop_lingering(oldest);
    timer_arm(hub->wheel, &oldest->linger, hub->now_ms);
}

/* Attaching, starting, detaching. */

static void channel_free(struct channel *channel)
{
    timer_stop(channel->hub->wheel, &channel->linger);
    timer_stop(channel->hub->wheel, &channel->expiry);
    list_remove(&channel->dirty_link);
    channel_memo_clear(&channel->memo);
    ring_deinit(&channel->window);
    ring_deinit(&channel->passing);
    conflation_deinit(&channel->newest);
    ring_deinit(&channel->request.tail);
    free(channel);
}

static void channel_leave_table(struct channel *channel)
{
    channel_stop_lingering(channel);
    HASH_DEL(channel->hub->channels, channel);
    channel->hub->channel_count--;
}

void channel_free_when_done(struct channel *channel)
{
    if (channel->state != CHANNEL_DETACHED || channel->pages_unread > 0)
        return;
    page_drop_all(channel);
    channel_free(channel);
}

static void channel_detached(struct broker_request *super)
{
    struct channel *channel = container_of(super, struct channel, request.super);
    channel->state = CHANNEL_DETACHED;
    channel_free_when_done(channel);
}

/* Asks the broker to detach; the channel is out of the table and freed with the answer. */
static void channel_detach(struct channel *channel)
{
    channel_leave_table(channel);
    channel->state = CHANNEL_DETACHING;
    timer_stop(channel->hub->wheel, &channel->linger);
    timer_stop(channel->hub->wheel, &channel->expiry);
    list_remove(&channel->dirty_link);
    page_drop_all(channel);
    if (hub_submit(channel->hub, &channel->request.super, BROKER_DETACH, channel_detached))
        channel_detached(&channel->request.super);
}

static void channel_fail(struct channel *channel, enum error_code error);
static enum error_code channel_attach(struct channel *channel);

static void channel_linger_over(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, linger);
    /* An attach that is still unanswered is waited for: the broker has the request. */
    if (channel->state == CHANNEL_ATTACHED)
        channel_detach(channel);
    else if (channel->is_asked)
        timer_arm(channel->hub->wheel, timer,
                  channel->hub->now_ms + number_greater(channel->hub->settings.linger_ms, 100));
    else if (channel->subscription_count == 0)
        channel_fail(channel, ERROR_NONE);
    else
        (void)channel_attach(channel); /* what it says it has told those who wait */
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
    channel_memo_clear(&channel->memo);
    ring_expire(&channel->window, channel->hub->now_ms);
    channel_arm_expiry(channel);
}

static void channel_fail(struct channel *channel, enum error_code error)
{
    channel_leave_table(channel);
    list_drain (link, &channel->pending)
        subscription_failed(container_of(link, struct subscription, link), error);
    channel_free(channel);
}

void channel_close(struct channel *channel)
{
    if (channel->state != CHANNEL_ATTACHED && !channel->is_asked)
        channel_fail(channel, ERROR_BROKER_DOWN);
    else if (channel->state == CHANNEL_ATTACHED && channel->subscription_count == 0)
        channel_detach(channel);
}

/* Of each key the newest in the window, where somebody wants no others. */
static void channel_note_window(struct channel *channel)
{
    if (channel->newest_count > 0)
        conflation_note_ring(&channel->newest, &channel->window);
}

static void channel_attached(struct broker_request *super)
{
    struct channel *channel = container_of(super, struct channel, request.super);
    channel->is_asked = false;
    /* Subscribers outlast a broker that is away: they are held, and it is asked again. */
    if (super->error == ERROR_BROKER_DOWN && channel->subscription_count > 0) {
        timer_arm(channel->hub->wheel, &channel->linger, channel->hub->now_ms + CHANNEL_RETRY_MS);
        return;
    }
    if (super->error != ERROR_NONE) {
        channel_fail(channel, super->error);
        return;
    }
    channel->state = CHANNEL_ATTACHED;
    channel->log = channel->request.log;
    channel->window = channel->request.tail;
    ring_init(&channel->request.tail);
    channel_note_window(channel);
    channel_arm_expiry(channel);
    struct list pending;
    list_init(&pending);
    list_splice(&pending, &channel->pending);
    list_drain (link, &pending)
        channel_start_subscription(container_of(link, struct subscription, link), true);
    if (channel->subscription_count == 0 && !channel->is_near)
        channel_begin_lingering(channel);
}

/* Returns the error when the broker refuses at once: the channel is gone then. */
static enum error_code channel_attach(struct channel *channel)
{
    channel->is_asked = true;
    channel->request.ahead_ms = ATTACH_AT_ONCE;
    channel->is_near = hub_submit(channel->hub, &channel->request.super, BROKER_ATTACH, channel_attached);
    if (!channel->is_near)
        return ERROR_NONE;
    enum error_code error = channel->request.super.error;
    channel_attached(&channel->request.super);
    return error;
}

static void channel_find_terms(struct channel *channel)
{
    const struct hub_settings *settings = &channel->hub->settings;
    const struct text name = {channel->name, channel->name_len};
    channel->terms = settings->find_terms(settings->context, name);
    channel->terms_generation = channel->hub->generation;
}

static struct channel *channel_new(struct hub *hub, const char *name, size_t len)
{
    struct channel *channel = calloc(1, sizeof(*channel) + len + 1);
    if (!channel)
        return NULL;
    channel->hub = hub;
    channel->state = CHANNEL_ATTACHING;
    ring_init(&channel->window);
    ring_init(&channel->passing);
    ring_init(&channel->request.tail);
    list_init(&channel->pages);
    list_init(&channel->pending);
    list_init(&channel->waiting);
    list_init(&channel->ready);
    list_init(&channel->blocked);
    list_init(&channel->dirty_link);
    list_init(&channel->linger_link);
    timer_init(&channel->linger, channel_linger_over);
    timer_init(&channel->expiry, channel_expire);
    channel->name_len = (uint8_t)len;
    memcpy(channel->name, name, len);
    channel_find_terms(channel);
    return channel;
}

struct channel *channel_new_without_log(struct hub *hub, struct text name)
{
    struct channel *channel = channel_new(hub, name.bytes, name.len);
    if (!channel)
        return NULL;
    channel->state = CHANNEL_DETACHED;
    channel->log.epoch = epoch_of_name(name.bytes, name.len);
    return channel;
}

void channel_free_without_log(struct channel *channel)
{
    channel_free(channel);
}

enum error_code channel_get(struct hub *hub, const char *name, size_t len, struct channel **found)
{
    struct channel *channel;
    HASH_FIND(hh, hub->channels, name, len, *found);
    if (*found)
        return ERROR_NONE;
    *found = channel = channel_new(hub, name, len);
    if (!channel)
        return ERROR_OUT_OF_MEMORY;
    HASH_ADD_KEYPTR(hh, hub->channels, channel->name, len, channel);
    if (!channel->hh.tbl) {
        free(channel);
        return ERROR_OUT_OF_MEMORY;
    }
    hub->channel_count++;
    channel->request.channel = channel;
    channel->request.name = (struct text){channel->name, len};
    channel->request.tail_count = CHANNEL_WINDOW;
    enum error_code error = channel_attach(channel);
    /* Until somebody is added, whatever keeps him from it. */
    if (error == ERROR_NONE)
        timer_arm(hub->wheel, &channel->linger, hub->now_ms + hub->settings.linger_ms);
    return error;
}

/* For as long as it is subscribed. */
static void channel_set_policy(struct channel *channel, struct subscription *subscription)
{
    const struct subscriber *subscriber = subscription->subscriber;
    bool is_newest = subscriber->policy == POLICY_NEWEST ||
                     (subscriber->policy == POLICY_OF_CHANNEL && channel->terms.is_newest);
    subscription->is_newest = is_newest && !subscriber->is_of_log;
    if (subscription->is_newest && channel->newest_count++ == 0)
        channel_note_window(channel);
}

void channel_add_subscription(struct channel *channel, struct subscription *subscription)
{
    subscription->channel = channel;
    channel_set_policy(channel, subscription);
    subscription->state = SUBSCRIPTION_PENDING;
    channel->subscriptions[subscription->subscriber->transport]++;
    channel->subscription_count++;
    if (channel->state == CHANNEL_ATTACHED || channel->is_asked)
        timer_stop(channel->hub->wheel, &channel->linger);
    channel_stop_lingering(channel);
    if (channel->state == CHANNEL_ATTACHING)
        list_append(&channel->pending, &subscription->link);
    else
        channel_start_subscription(subscription, false);
}

void channel_remove_subscription(struct subscription *subscription)
{
    struct channel *channel = subscription->channel;
    list_remove(&subscription->link);
    presence_end(subscription->presence);
    subscription->presence = NULL;
    subscription->channel = NULL;
    channel->subscriptions[subscription->subscriber->transport]--;
    if (subscription->is_newest && --channel->newest_count == 0)
        conflation_deinit(&channel->newest);
    if (channel->passing.count > 0)
        channel_mark_dirty(channel); /* it may have been the last one behind them */
    if (--channel->subscription_count == 0 && (channel->state == CHANNEL_ATTACHED || channel->is_asked))
        channel_begin_lingering(channel);
}

bool channel_is_followed(struct channel *channel)
{
    if (channel->terms_generation != channel->hub->generation)
        channel_find_terms(channel);
    return channel->terms.is_followed;
}

static bool channel_is_fetching(const struct channel *channel)
{
    list_for_each (link, &channel->pages)
        if (!list_is_empty(&container_of(link, struct page, link)->fetching))
            return true;
    return false;
}

static void channel_trim_passing(struct channel *channel)
{
    bool has_reader = !list_is_empty(&channel->ready) || !list_is_empty(&channel->blocked);
    if (!has_reader && !channel_is_fetching(channel))
        ring_deinit(&channel->passing);
}

void channel_trim(struct channel *channel)
{
    if (channel->passing.count > 0)
        channel_trim_passing(channel);
    if (channel->terms_generation != channel->hub->generation)
        channel_find_terms(channel);
    const struct retention *kept = &channel->terms.kept;
    struct retention retention = {kept->count < CHANNEL_WINDOW ? kept->count : CHANNEL_WINDOW, kept->bytes,
                                  0};
    if (!list_is_empty(&channel->ready)) {
        retention.count = number_greater(retention.count, WINDOW_BUSY_COUNT);
        retention.bytes = number_greater(retention.bytes, WINDOW_BUSY_BYTES);
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

/* It stands behind the message of its offset. Where that is not known here, letters were lost on the way; and
 * what is behind already is not told, so that what is told never goes back. */
static void channel_take_transient(struct channel *channel, struct message *message)
{
    static const struct retention kept = {PASSING_COUNT, PASSING_BYTES, 0};
    if (message->offset > channel->log.top) {
        channel_memo_clear(&channel->memo);
        ring_deinit(&channel->window);
        channel->log.top = message->offset;
        channel_make_all_ready(channel);
    }
    if (message->offset < channel->log.top || channel->subscription_count == 0 ||
        ring_append(&channel->passing, message)) {
        message_unref(message);
        return;
    }
    channel->serial++;
    channel_make_all_ready(channel);
    ring_trim(&channel->passing, &kept);
}

static void channel_note_newest(struct channel *channel, const struct message *message)
{
    conflation_note(&channel->newest, message->key_hash, message->offset,
                    ring_at(&channel->window, 0)->offset);
}

static void channel_take_message(struct channel *channel, struct message *message)
{
    const uint64_t offset = message->offset;
    channel_memo_clear(&channel->memo);
    /* A hole, or an offset already passed, means that letters were lost on the way: what the log has is read
     * again in pages. So is what there is no memory for. */
    if (offset != channel->log.top + 1)
        ring_deinit(&channel->window);
    if (offset <= channel->log.top || ring_append(&channel->window, message)) {
        ring_deinit(&channel->window);
        message_unref(message);
    } else {
        if (channel->window.count == 1 || message->ttl_ms > 0)
            channel_arm_expiry(channel);
        if (channel->newest_count > 0)
            channel_note_newest(channel, message);
    }
    channel->log.top = number_greater(channel->log.top, offset);
    channel_make_all_ready(channel);
    channel_trim(channel);
}

/* Those whose cursors were being checked against a log that is no more, or not so any more, go into
 * `checking`. */
static void channel_begin_log(struct channel *channel, const struct log_state *log, struct list *checking)
{
    list_init(checking);
    channel_memo_clear(&channel->memo);
    ring_deinit(&channel->passing);
    conflation_deinit(&channel->newest);
    channel->log = *log;
    list_for_each (page_link, &channel->pages) {
        struct page *page = container_of(page_link, struct page, link);
        list_for_each_safe (link, &page->fetching) {
            struct subscription *subscription = container_of(link, struct subscription, link);
            if (subscription->state == SUBSCRIPTION_FETCHING) {
                channel_resume_subscription(subscription);
            } else {
                list_remove(link);
                list_append(checking, link);
            }
        }
    }
    page_drop_all(channel);
}

static void channel_apply_reset(struct channel *channel, const struct feed *feed)
{
    struct list checking;
    channel_begin_log(channel, &feed->log, &checking);
    ring_deinit(&channel->window);
    channel_make_all_ready(channel);
    list_for_each (each, &channel->ready)
        channel_reset_subscription(container_of(each, struct subscription, link), feed->reason);
    list_for_each (each, &channel->blocked)
        channel_reset_subscription(container_of(each, struct subscription, link), feed->reason);
    list_drain (link, &checking) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        channel_reset_subscription(subscription, feed->reason);
        channel_make_waiting(subscription);
        subscription_attached(subscription);
    }
}

static void channel_withdraw_all(struct channel *channel, const struct forebear *forebear)
{
    struct list *const lists[] = {&channel->waiting, &channel->ready, &channel->blocked};
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        list_for_each_safe (link, lists[i]) {
            struct subscription *subscription = container_of(link, struct subscription, link);
            channel_withdraw_subscription(subscription, forebear);
            if (subscription->reset != RESET_NONE && lists[i] == &channel->waiting)
                channel_make_ready(subscription);
        }
}

/* Silent for all but those who were told what is gone. */
static void channel_apply_renewal(struct channel *channel, const struct log_state *log)
{
    static const struct forebear nothing = {.is_doubtful = true};
    const struct forebear *found = ancestry_find(&log->ancestry, &channel->log.epoch);
    const struct forebear *forebear = found ? found : &nothing;
    struct list checking;
    bool has_lost = forebear->is_doubtful || channel->log.top > forebear->shared;
    channel_begin_log(channel, log, &checking);
    if (has_lost) {
        ring_deinit(&channel->window);
        channel_withdraw_all(channel, forebear);
    }
    channel_note_window(channel);
    list_drain (link, &checking) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        channel_start_subscription(subscription, subscription->state == SUBSCRIPTION_SEEKING);
    }
}

void channel_take_feed(struct channel *channel, const struct feed *feed)
{
    if (channel->state != CHANNEL_ATTACHED)
        message_unref(feed->message);
    else if (feed->message && feed->message->is_transient)
        channel_take_transient(channel, feed->message);
    else if (feed->message)
        channel_take_message(channel, feed->message);
    else if (feed->reason != RESET_NONE)
        channel_apply_reset(channel, feed);
    else
        channel_apply_renewal(channel, &feed->log);
}
