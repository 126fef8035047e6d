/* SPDX-License-Identifier: MIT */
#include "core/subscriber.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/channel.h"
#include "core/presence.h"
#include "core/spread.h"

int subscriber_policy_parse(enum subscriber_policy *policy, struct text text)
{
    if (!text_is(text, "all") && !text_is(text, "newest"))
        return -EINVAL;
    *policy = text_is(text, "newest") ? POLICY_NEWEST : POLICY_ALL;
    return 0;
}

static void subscriber_forget_start(struct subscriber *subscriber)
{
    free(subscriber->own_start);
    subscriber->own_start = NULL;
    subscriber->start = NULL;
}

static void subscriber_forget_persona(struct subscriber *subscriber)
{
    persona_unref(subscriber->persona);
    subscriber->persona = NULL;
}

static struct start *start_copy(const struct start *start, uint64_t asked_ms)
{
    size_t size = offsetof(struct start, at) + start->count * sizeof(start->at[0]);
    struct start *copy = malloc(size);
    if (!copy)
        return NULL;
    memcpy(copy, start, size);
    copy->asked_ms = asked_ms;
    return copy;
}

void subscriber_leave(struct subscriber *subscriber)
{
    struct subscription *subscriptions = subscriber->subscriptions;
    if (!subscriptions)
        return;
    if (subscriber_is_spread(subscriber))
        spread_end(subscriber->spread);
    for (unsigned i = 0; i < subscriber->count; i++)
        if (subscriptions[i].channel)
            channel_remove_subscription(&subscriptions[i]);
    subscriber->hub->subscriber_count[subscriber->transport]--;
    subscriber->subscriptions = NULL;
    if (subscriptions != &subscriber->one)
        free(subscriptions);
    subscriber_forget_start(subscriber);
    subscriber_forget_persona(subscriber);
}

void subscriber_introduce(struct subscriber *subscriber, struct persona *persona)
{
    persona_ref(persona);
    subscriber_forget_persona(subscriber);
    subscriber->persona = persona;
    for (unsigned i = 0; subscriber->subscriptions && i < subscriber->count; i++)
        if (subscriber->subscriptions[i].presence)
            presence_change(subscriber->subscriptions[i].presence, persona);
    if (subscriber_is_spread(subscriber))
        spread_introduce(subscriber->spread, persona);
}

void subscription_failed(struct subscription *subscription, enum error_code error)
{
    struct subscriber *subscriber = subscription->subscriber;
    if (subscriber_is_spread(subscriber)) {
        spread_failed(subscription, error);
        return;
    }
    subscriber_leave(subscriber);
    subscriber->ops->fail(subscriber, error);
}

void subscription_attached(struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    struct channel *channel = subscription->channel;
    if (!subscriber->is_of_log && !subscription->presence && channel_is_followed(channel))
        subscription->presence =
            presence_begin(subscriber->hub, (struct text){channel->name, channel->name_len},
                           subscriber->persona, (enum transport_kind)subscriber->transport);
    if (subscriber_is_spread(subscriber)) {
        spread_attached(subscription);
        return;
    }
    if (--subscriber->pending > 0)
        return;
    subscriber_forget_start(subscriber);
    subscriber->ops->wake(subscriber, true);
}

const struct start *subscription_start(const struct subscription *subscription)
{
    const struct subscriber *subscriber = subscription->subscriber;
    return subscriber_is_spread(subscriber) ? spread_start(subscription) : subscriber->start;
}

static bool subscriber_has_wild_name(const struct text *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (channel_name_is_wild(names[i]))
            return true;
    return false;
}

static enum error_code subscriber_join_channels(struct subscriber *subscriber, const struct text *channels,
                                                const struct start *start)
{
    struct channel *found[CURSOR_CHANNELS_MAX];
    const unsigned count = subscriber->count;
    bool must_wait = false;
    /* All are found before one is joined: from the last join on, the subscriber may be woken and leave. */
    for (unsigned i = 0; i < count; i++) {
        enum error_code error = channel_get(subscriber->hub, channels[i].bytes, channels[i].len, &found[i]);
        if (error != ERROR_NONE)
            return error;
        must_wait = must_wait || found[i]->state == CHANNEL_ATTACHING || channel_must_ask(found[i], start);
    }
    if (must_wait && !(subscriber->own_start = start_copy(start, subscriber->hub->now_ms)))
        return ERROR_OUT_OF_MEMORY;
    subscriber->start = must_wait ? subscriber->own_start : start;
    subscriber->hub->subscriber_count[subscriber->transport]++;
    for (unsigned i = 0; i < count; i++)
        channel_add_subscription(found[i], &subscriber->subscriptions[i]);
    if (!must_wait)
        subscriber->start = NULL;
    return ERROR_NONE;
}

enum error_code subscriber_join(struct subscriber *subscriber, struct hub *hub,
                                const struct subscriber_ops *ops, enum transport_kind transport,
                                const struct text *channels, unsigned count, const struct start *start)
{
    subscriber->ops = ops;
    subscriber->hub = hub;
    subscriber->transport = (uint8_t)transport;
    subscriber->is_blocked = false;
    subscriber->is_resumed = false;
    subscriber->count = (uint8_t)count;
    subscriber->pending = (uint8_t)count;
    subscriber->start = NULL;
    subscriber->own_start = NULL;
    struct subscription *subscriptions =
        count == 1 ? &subscriber->one : calloc(count, sizeof(*subscriptions));
    if (!subscriptions) {
        subscriber_forget_persona(subscriber);
        return ERROR_OUT_OF_MEMORY;
    }
    for (unsigned i = 0; i < count; i++) {
        subscriptions[i] = (struct subscription){.subscriber = subscriber};
        list_init(&subscriptions[i].link);
    }
    subscriber->subscriptions = subscriptions;
    enum error_code error = subscriber_has_wild_name(channels, count)
                                ? spread_begin(subscriber, channels, start)
                                : subscriber_join_channels(subscriber, channels, start);
    if (error != ERROR_NONE) {
        subscriber->subscriptions = NULL;
        if (subscriptions != &subscriber->one)
            free(subscriptions);
        subscriber_forget_persona(subscriber);
    }
    return error;
}

size_t subscriber_read(struct subscriber *subscriber, struct delivery *deliveries, size_t most)
{
    size_t count = 0;
    bool is_spread = subscriber_is_spread(subscriber);
    if (!subscriber->subscriptions ||
        (subscriber->pending > 0 && !(is_spread && spread_has_begun(subscriber->spread))))
        return 0;
    /* First, so that whoever is told a message has been told what its joined cursor is past. */
    for (unsigned i = 0; i < subscriber->count && count < most; i++)
        count += channel_read_reset(&subscriber->subscriptions[i], deliveries + count);
    for (unsigned i = 0; i < subscriber->count && count < most; i++)
        count += channel_read(&subscriber->subscriptions[i], deliveries + count, most - count);
    if (is_spread && count < most)
        count += spread_read(subscriber->spread, deliveries + count, most - count, count);
    return count;
}

/* Advancing swaps what the delivery holds with what the subscription held, so that retreating is the same
 * again. */
static void subscriber_swap_place(struct delivery *delivery)
{
    uint64_t offset = delivery->subscription->offset;
    uint32_t serial = delivery->subscription->serial;
    delivery->subscription->offset = delivery->offset;
    delivery->subscription->serial = delivery->serial;
    delivery->offset = offset;
    delivery->serial = serial;
}

void subscriber_advance(struct delivery *delivery)
{
    subscriber_swap_place(delivery);
    delivery->subscription->is_after_gap = !delivery->message;
    delivery->subscription->is_at_oldest = false;
    if (!delivery->message) {
        delivery->subscription->reset = RESET_NONE;
        delivery->subscription->subscriber->hub->resets_told++;
    }
}

void subscriber_retreat(struct delivery *delivery)
{
    subscriber_swap_place(delivery);
    delivery->subscription->is_after_gap = false;
    if (delivery->message)
        return;
    delivery->subscription->subscriber->hub->resets_told--;
    /* A gap is found again from the offset; only a reset that stood before it has to be put back. */
    if (delivery->offset == delivery->subscription->offset) {
        delivery->subscription->reset = (uint8_t)delivery->reset;
        delivery->subscription->missed = delivery->missed;
    }
}

void subscriber_yield(struct subscriber *subscriber)
{
    for (unsigned i = 0; subscriber->subscriptions && i < subscriber->count; i++)
        if (subscriber->subscriptions[i].state == SUBSCRIPTION_LIVE)
            channel_make_ready(&subscriber->subscriptions[i]);
    if (subscriber_is_spread(subscriber))
        spread_yield(subscriber->spread);
}

enum recovery subscriber_recovery(struct subscriber *subscriber)
{
    enum recovery recovery = subscriber->is_resumed ? RECOVERY_WHOLE : RECOVERY_NONE;
    for (unsigned i = 0; subscriber->subscriptions && i < subscriber->count; i++) {
        struct subscription *subscription = &subscriber->subscriptions[i];
        struct delivery next;
        if (channel_read_reset(subscription, &next) ||
            (channel_read(subscription, &next, 1) > 0 && !next.message))
            recovery = RECOVERY_GAP;
    }
    if (subscriber_is_spread(subscriber) && spread_has_gap(subscriber->spread))
        recovery = RECOVERY_GAP;
    return recovery;
}

bool subscriber_is_fetching(const struct subscriber *subscriber)
{
    for (unsigned i = 0; subscriber->subscriptions && i < subscriber->count; i++)
        if (subscriber->subscriptions[i].state == SUBSCRIPTION_FETCHING)
            return true;
    return subscriber_is_spread(subscriber) && spread_is_fetching(subscriber->spread);
}

void subscriber_block(struct subscriber *subscriber)
{
    subscriber->is_blocked = true;
    for (unsigned i = 0; subscriber->subscriptions && i < subscriber->count; i++)
        if (subscriber->subscriptions[i].state == SUBSCRIPTION_LIVE)
            channel_make_blocked(&subscriber->subscriptions[i]);
    if (subscriber_is_spread(subscriber))
        spread_block(subscriber->spread);
}

void subscriber_unblock(struct subscriber *subscriber)
{
    if (!subscriber->is_blocked || !subscriber->subscriptions)
        return;
    subscriber->is_blocked = false;
    subscriber_yield(subscriber);
}

/* With a reset that has not been told yet, a place in no log: who comes back with it is told of one. */
size_t subscription_format_position(const struct subscription *subscription, char *to)
{
    const struct channel *channel = subscription->channel;
    if (subscription->reset == RESET_NONE)
        return position_format(to, &channel->log.epoch, subscription->offset);
    const struct epoch none = epoch_of_name(channel->name, channel->name_len);
    return position_format(to, &none, 0);
}

size_t subscriber_cursor(const struct subscriber *subscriber, char *to)
{
    unsigned room = CURSOR_CHANNELS_MAX;
    return subscriber_cursor_within(subscriber, to, &room);
}

size_t subscriber_cursor_within(const struct subscriber *subscriber, char *to, unsigned *room)
{
    size_t len = 0;
    if (subscriber_is_spread(subscriber))
        return spread_cursor(subscriber->spread, to, room);
    *room -= subscriber->count < *room ? subscriber->count : *room;
    for (unsigned i = 0; i < subscriber->count; i++) {
        const struct subscription *subscription = &subscriber->subscriptions[i];
        if (i > 0)
            to[len++] = '.';
        len += subscription_format_position(subscription, to + len);
    }
    return len;
}

struct channel_memo *subscription_memo(const struct subscription *subscription)
{
    return &subscription->channel->memo;
}

void channel_memo_clear(struct channel_memo *memo)
{
    if (memo->value)
        memo->release(memo->value);
    *memo = (struct channel_memo){0};
}

struct text subscription_channel(const struct subscription *subscription)
{
    return (struct text){subscription->channel->name, subscription->channel->name_len};
}

const struct epoch *subscription_epoch(const struct subscription *subscription)
{
    return &subscription->channel->log.epoch;
}

uint64_t subscription_top(const struct subscription *subscription)
{
    return subscription->channel->log.top;
}
