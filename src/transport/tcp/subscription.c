/* SPDX-License-Identifier: MIT */
/* The subscriptions of a connection: each is a subscriber of its own, with a cursor and no queue. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/connection.h"
#include "transport/tcp/range.h"

static void tcp_subscription_move(struct tcp_subscription *subscription, enum tcp_subscription_state to)
{
    static const unsigned legal[] = {
        [TCP_JOINING] = 1u << TCP_LIVE,
        [TCP_ASKED] = 1u << TCP_HELD | 1u << TCP_LIVE,
        [TCP_HELD] = 1u << TCP_LIVE,
        [TCP_LIVE] = 0,
    };
    bool was_held = subscription->state == TCP_HELD;
    assert(legal[subscription->state] & 1u << to);
    subscription->state = (uint8_t)to;
    if (to == TCP_HELD)
        subscriber_block(&subscription->subscriber);
    else if (was_held)
        subscriber_unblock(&subscription->subscriber);
    else /* what it starts with is told in its turn, not in the middle of its command */
        subscriber_yield(&subscription->subscriber);
}

/* Whether connection_wait_end is due: for a feed when it has begun, for the others when they have been told.
 */
static bool tcp_subscription_is_awaited(const struct tcp_subscription *subscription)
{
    return subscription->kind != SUBSCRIPTION_FEED || subscription->state == TCP_ASKED;
}

static void tcp_subscription_free(struct garbage *garbage)
{
    free(container_of(garbage, struct tcp_subscription, garbage));
}

void tcp_unsubscribe(struct tcp_subscription *subscription)
{
    struct connection *connection = subscription->connection;
    subscriber_leave(&subscription->subscriber);
    list_remove(&subscription->link);
    connection->subscription_count--;
    connection->below_count = (uint16_t)(connection->below_count - (subscription->pattern != NULL));
    range_free(subscription->range, connection_shard(connection));
    subscription->range = NULL;
    shard_reap(connection_shard(connection), &subscription->garbage, tcp_subscription_free);
}

void tcp_unsubscribe_all(struct connection *connection)
{
    list_for_each_safe (link, &connection->subscriptions)
        tcp_unsubscribe(container_of(link, struct tcp_subscription, link));
}

void tcp_unsubscribe_pattern(struct connection *connection, const struct tcp_pattern *pattern)
{
    list_for_each_safe (link, &connection->subscriptions) {
        struct tcp_subscription *subscription = container_of(link, struct tcp_subscription, link);
        bool is_awaited = tcp_subscription_is_awaited(subscription);
        if (subscription->pattern != pattern)
            continue;
        tcp_unsubscribe(subscription);
        if (is_awaited && connection->wait)
            connection->wait->awaited--;
    }
}

struct tcp_subscription *tcp_subscription_find(struct connection *connection,
                                               const struct tcp_pattern *pattern, struct text channel)
{
    list_for_each (link, &connection->subscriptions) {
        struct tcp_subscription *subscription = container_of(link, struct tcp_subscription, link);
        if (subscription->kind == SUBSCRIPTION_FEED && subscription->pattern == pattern &&
            text_equals(subscription_channel(&subscription->subscriber.one), channel))
            return subscription;
    }
    return NULL;
}

/* Tells what there is to tell. A history that has been told ends. */
static void tcp_subscription_flush(struct tcp_subscription *subscription)
{
    struct connection *connection = subscription->connection;
    if (subscription->kind == SUBSCRIPTION_RANGE) {
        if (range_gather(subscription)) {
            tcp_unsubscribe(subscription);
            connection_wait_end(connection);
        }
        return;
    }
    if (tcp_deliver(subscription) != OUTLET_DONE)
        return;
    if (subscription->kind == SUBSCRIPTION_HISTORY && !subscriber_is_fetching(&subscription->subscriber)) {
        tcp_unsubscribe(subscription);
        connection_wait_end(connection);
    } else {
        connection_try_leave(connection);
    }
}

static void tcp_subscription_wake(struct subscriber *subscriber, bool is_first)
{
    struct tcp_subscription *subscription = container_of(subscriber, struct tcp_subscription, subscriber);
    if (!is_first) {
        tcp_subscription_flush(subscription);
        return;
    }
    bool is_feed = subscription->kind == SUBSCRIPTION_FEED;
    bool is_held = is_feed && subscription->state == TCP_ASKED;
    subscription->until = is_feed ? UINT64_MAX : subscription_top(&subscriber->one);
    tcp_subscription_move(subscription, is_held ? TCP_HELD : TCP_LIVE);
    if (is_held)
        connection_wait_end(subscription->connection);
}

static void tcp_subscription_fail(struct subscriber *subscriber, enum error_code error)
{
    struct tcp_subscription *subscription = container_of(subscriber, struct tcp_subscription, subscriber);
    struct connection *connection = subscription->connection;
    bool is_awaited = tcp_subscription_is_awaited(subscription);
    tcp_unsubscribe(subscription);
    if (!is_awaited) {
        /* Nobody asked: it stands before the answer of a transaction, not in it. */
        connection_append_error(connection, stream_socket_text(&connection->socket), error,
                                error_text(error));
        return;
    }
    /* One answer for each of our commands; over RESP each channel has its own. */
    if (connection->framing != FRAMING_RESP)
        connection->wait->text.len = 0;
    connection_append_error(connection, &connection->wait->text, error, error_text(error));
    connection_wait_end(connection);
}

static const struct subscriber_ops tcp_subscriber_ops = {.wake = tcp_subscription_wake,
                                                         .fail = tcp_subscription_fail};

enum error_code tcp_subscribe(struct connection *connection, enum subscription_kind kind, struct text channel,
                              const struct start *start, struct range *range,
                              const struct tcp_pattern *pattern)
{
    struct shard *shard = connection_shard(connection);
    struct tcp_subscription *subscription = calloc(1, sizeof(*subscription));
    if (!subscription)
        return ERROR_OUT_OF_MEMORY;
    subscription->connection = connection;
    subscription->kind = (uint8_t)kind;
    subscription->range = range;
    subscription->pattern = pattern;
    subscription->state = connection->wait ? TCP_ASKED : TCP_JOINING;
    subscription->subscriber.ahead = connection;
    list_init(&subscription->link);
    list_append(&connection->subscriptions, &subscription->link);
    connection->subscription_count++;
    connection->below_count = (uint16_t)(connection->below_count + (pattern != NULL));
    if (connection->wait)
        connection->wait->awaited++;
    enum error_code error = subscriber_join(&subscription->subscriber, &shard->hub, &tcp_subscriber_ops,
                                            TRANSPORT_TCP, &channel, 1, start);
    if (error == ERROR_NONE)
        return error;
    subscription->range = NULL; /* it is the caller's still */
    tcp_unsubscribe(subscription);
    if (connection->wait)
        connection->wait->awaited--;
    return error;
}

void tcp_subscriptions_release(struct connection *connection)
{
    list_for_each (link, &connection->subscriptions) {
        struct tcp_subscription *subscription = container_of(link, struct tcp_subscription, link);
        if (subscription->state == TCP_HELD)
            tcp_subscription_move(subscription, TCP_LIVE);
    }
}

void tcp_subscriptions_unblock(struct connection *connection)
{
    list_for_each (link, &connection->subscriptions) {
        struct tcp_subscription *subscription = container_of(link, struct tcp_subscription, link);
        if (subscription->state != TCP_HELD)
            subscriber_unblock(&subscription->subscriber);
    }
}

bool tcp_subscriptions_are_done(struct connection *connection)
{
    list_for_each (link, &connection->subscriptions) {
        struct tcp_subscription *subscription = container_of(link, struct tcp_subscription, link);
        struct delivery delivery;
        if (subscription->state < TCP_HELD)
            continue; /* nothing was promised to it yet */
        if (subscriber_is_fetching(&subscription->subscriber) ||
            subscriber_read(&subscription->subscriber, &delivery, 1) > 0)
            return false;
    }
    return true;
}
