/* SPDX-License-Identifier: MIT */
#include "command/subscription.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "command/auth.h"
#include "command/conversation.h"
#include "shard/rates.h"

static struct command_subscription *subscription_of(struct list *link)
{
    return container_of(link, struct command_subscription, link);
}

/* Nothing goes to a carrier that is away; what there is at the start is told in its turn, not in the middle
 * of a command. */
static void command_subscription_move(struct command_subscription *subscription, enum command_state to)
{
    static const unsigned legal[] = {
        [COMMAND_JOINING] = 1u << COMMAND_HELD | 1u << COMMAND_LIVE,
        [COMMAND_HELD] = 1u << COMMAND_LIVE,
        [COMMAND_LIVE] = 0,
    };
    bool was_held = subscription->state == COMMAND_HELD;
    assert(legal[subscription->state] & 1u << to);
    if (subscription->state == COMMAND_JOINING)
        errands_joined(&subscription->conversation->errands);
    subscription->state = (uint8_t)to;
    if (to == COMMAND_HELD || subscription->conversation->is_blocked)
        subscriber_block(&subscription->subscriber);
    else if (was_held)
        subscriber_unblock(&subscription->subscriber);
    else
        subscriber_yield(&subscription->subscriber);
}

/* Waiting. */

void command_wait_begin(struct command_wait *wait, struct conversation *conversation,
                        const struct command_wait_ops *ops)
{
    *wait = (struct command_wait){.ops = ops, .conversation = conversation, .awaited = 1};
}

void command_wait_end(struct command_wait *wait)
{
    if (--wait->awaited == 0)
        wait->ops->done(wait);
}

void command_wait_release(struct command_wait *wait)
{
    list_for_each (link, &wait->conversation->subscriptions) {
        struct command_subscription *subscription = subscription_of(link);
        if (subscription->wait != wait)
            continue;
        subscription->wait = NULL;
        command_subscription_move(subscription, COMMAND_LIVE);
    }
}

/* A feed is awaited until it has begun, a history until it has been told. */
static bool command_subscription_is_awaited(const struct command_subscription *subscription)
{
    return subscription->wait && (subscription->is_history || subscription->state == COMMAND_JOINING);
}

/* Beginning and end. */

static void command_subscription_free(struct garbage *garbage)
{
    free(container_of(garbage, struct command_subscription, garbage));
}

void command_unsubscribe(struct command_subscription *subscription)
{
    struct conversation *conversation = subscription->conversation;
    if (command_subscription_is_awaited(subscription))
        subscription->wait->awaited--;
    if (subscription->search)
        subscription->search->awaited--;
    if (subscription->state == COMMAND_JOINING)
        errands_joined(&conversation->errands);
    subscriber_leave(&subscription->subscriber);
    list_remove(&subscription->link);
    conversation->subscription_count--;
    shard_reap(conversation->shard, &subscription->garbage, command_subscription_free);
}

void command_unsubscribe_all(struct conversation *conversation)
{
    list_for_each_safe (link, &conversation->subscriptions)
        command_unsubscribe(subscription_of(link));
}

bool command_history_try_end(struct command_subscription *subscription)
{
    struct command_wait *wait = subscription->wait;
    if (!subscription->is_history || subscriber_is_fetching(&subscription->subscriber))
        return false;
    wait->awaited++;
    command_unsubscribe(subscription);
    command_wait_end(wait);
    return true;
}

/* The answer says whether a reset comes first, so it waits for what the broker has to be asked for that. */
static void command_subscription_start(struct command_subscription *subscription)
{
    struct subscriber *subscriber = &subscription->subscriber;
    struct command_wait *wait = subscription->wait;
    if (subscription->is_history)
        subscription->until = subscription_top(&subscriber->one);
    if (subscription->is_history || !wait) {
        command_subscription_move(subscription, COMMAND_LIVE);
        errands_settle_joined(&subscription->conversation->errands);
        return;
    }
    enum recovery recovery = subscriber_recovery(subscriber);
    if (subscriber_is_fetching(subscriber))
        return;
    if (recovery > wait->recovery)
        wait->recovery = recovery;
    command_subscription_move(subscription, COMMAND_HELD);
    command_wait_end(wait);
}

static void command_subscription_wake(struct subscriber *subscriber, bool is_first)
{
    struct command_subscription *subscription =
        container_of(subscriber, struct command_subscription, subscriber);
    (void)is_first; /* or it has waited for what comes first */
    if (subscription->state == COMMAND_LIVE)
        subscription->deliver(subscription);
    else
        command_subscription_start(subscription);
}

bool command_subscription_end(struct command_subscription *subscription, enum error_code error)
{
    struct command_wait *wait = command_subscription_is_awaited(subscription) ? subscription->wait : NULL;
    struct command_wait *search = subscription->search;
    if (wait)
        wait->awaited++;
    if (search)
        search->awaited++;
    command_unsubscribe(subscription);
    if (search)
        command_wait_end(search);
    if (!wait)
        return false;
    wait->ops->fail(wait, error);
    command_wait_end(wait);
    return true;
}

static void command_subscription_fail(struct subscriber *subscriber, enum error_code error)
{
    struct command_subscription *subscription =
        container_of(subscriber, struct command_subscription, subscriber);
    struct conversation *conversation = subscription->conversation;
    if (!command_subscription_end(subscription, error))
        conversation_tell_lost(conversation, (struct text){"", 0}, error, error_text(error));
    errands_settle_joined(&conversation->errands);
}

/* Of all subscriptions, what is below a wild name too. */
static uint64_t command_channel_count(const struct conversation *conversation)
{
    uint64_t count = conversation->subscription_count;
    list_for_each (link, &conversation->subscriptions)
        count += subscriber_spread_count(&subscription_of(link)->subscriber);
    return count;
}

static enum error_code command_subscription_admits(struct subscriber *subscriber, struct text channel)
{
    const struct conversation *conversation =
        container_of(subscriber, struct command_subscription, subscriber)->conversation;
    char fault[AUTH_FAULT_MAX];
    enum error_code error = conversation_check(conversation, ACCESS_SUBSCRIBE, channel, fault);
    bool is_full =
        command_channel_count(conversation) >= conversation->shard->options->max_channels_per_connection;
    return error == ERROR_NONE && is_full ? ERROR_TOO_MANY_CHANNELS : error;
}

static void command_subscription_searched(struct subscriber *subscriber)
{
    struct command_subscription *subscription =
        container_of(subscriber, struct command_subscription, subscriber);
    struct command_wait *search = subscription->search;
    subscription->search = NULL;
    if (search)
        command_wait_end(search);
}

static const struct subscriber_ops command_subscriber_ops = {
    .wake = command_subscription_wake,
    .fail = command_subscription_fail,
    .admits = command_subscription_admits,
    .searched = command_subscription_searched,
};

void command_subscription_search(struct command_subscription *subscription, struct command_wait *wait)
{
    if (!command_subscription_is_wild(subscription))
        return;
    if (wait && !subscription->search && subscription->state != COMMAND_JOINING) {
        subscription->search = wait;
        wait->awaited++;
    }
    subscriber_search_again(&subscription->subscriber);
}

bool command_has_room(const struct conversation *conversation, unsigned count, char fault[COMMAND_FAULT_MAX])
{
    uint64_t most = conversation->shard->options->max_channels_per_connection;
    if (command_channel_count(conversation) + count <= most)
        return true;
    snprintf(fault, COMMAND_FAULT_MAX,
             "a connection subscribes to at most %llu channels (max-channels-per-connection)",
             (unsigned long long)most);
    return false;
}

enum error_code command_admit(const struct conversation *conversation, struct text channel,
                              char fault[PUBLISH_FAULT_MAX])
{
    uint32_t retry_after_s;
    const struct asker by = conversation_asker(conversation);
    enum error_code error =
        rates_ask_subscription(conversation->shard, &by, channel, 1, &retry_after_s, fault);
    if (error == ERROR_NONE)
        rates_take_subscription(conversation->shard, &by, channel);
    return error;
}

enum error_code command_subscribe(struct conversation *conversation, const struct command_wish *wish,
                                  struct command_wait *wait)
{
    struct command_subscription *subscription = malloc(sizeof(*subscription));
    if (!subscription)
        return ERROR_OUT_OF_MEMORY;
    *subscription = (struct command_subscription){
        .conversation = conversation,
        .deliver = conversation->ops->deliver,
        .wait = wait,
        .until = UINT64_MAX,
        .is_history = wish->is_history,
    };
    subscription->subscriber.ahead = conversation->ahead;
    subscription->subscriber.is_of_log = wish->is_history;
    subscription->subscriber.policy = (uint8_t)wish->policy;
    list_init(&subscription->link);
    list_append(&conversation->subscriptions, &subscription->link);
    conversation->subscription_count++;
    if (!wish->is_history && hub_follows(&conversation->shard->hub, wish->channel))
        subscription->subscriber.persona = bearer_introduce(&conversation->bearer, conversation->said);
    if (wait)
        wait->awaited++;
    errands_join(&conversation->errands);
    enum error_code error =
        subscriber_join(&subscription->subscriber, &conversation->shard->hub, &command_subscriber_ops,
                        (enum transport_kind)conversation->transport, &wish->channel, 1, wish->start);
    if (error != ERROR_NONE)
        command_unsubscribe(subscription);
    return error;
}

struct command_subscription *command_subscription_find(const struct conversation *conversation,
                                                       struct text channel)
{
    list_for_each (link, &conversation->subscriptions) {
        struct command_subscription *subscription = subscription_of(link);
        if (!subscription->is_history &&
            text_equals(subscription_channel(&subscription->subscriber.one), channel))
            return subscription;
    }
    return NULL;
}

/* All of a conversation. */

void conversation_tell_lost(struct conversation *conversation, struct text channel, enum error_code error,
                            const char *what)
{
    if (conversation->ops->lost)
        conversation->ops->lost(conversation, channel, error, what);
    else
        conversation_say_lost(conversation, channel, error, what);
}

void conversation_block(struct conversation *conversation)
{
    conversation->is_blocked = true;
    list_for_each (link, &conversation->subscriptions)
        if (subscription_of(link)->state == COMMAND_LIVE)
            subscriber_block(&subscription_of(link)->subscriber);
}

void conversation_unblock(struct conversation *conversation)
{
    conversation->is_blocked = false;
    list_for_each (link, &conversation->subscriptions)
        if (subscription_of(link)->state == COMMAND_LIVE)
            subscriber_unblock(&subscription_of(link)->subscriber);
}

bool conversation_is_told(struct conversation *conversation)
{
    list_for_each (link, &conversation->subscriptions) {
        struct command_subscription *subscription = subscription_of(link);
        struct delivery delivery;
        if (subscription->state == COMMAND_JOINING)
            continue; /* nothing was promised to it yet */
        if (subscriber_is_fetching(&subscription->subscriber) ||
            subscriber_read(&subscription->subscriber, &delivery, 1) > 0)
            return false;
    }
    return true;
}
