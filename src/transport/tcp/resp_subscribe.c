/* SPDX-License-Identifier: MIT */
/* SUBSCRIBE and its kin, as Redis answers them. */

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "render/render.h"
#include "transport/tcp/reply.h"
#include "transport/tcp/resp_call.h"

/* "subscribe", the channel, and how many this connection has then. */
static void resp_append_subscription(const struct connection *connection, struct buf *to, const char *kind,
                                     const struct text *channel, uint64_t count)
{
    reply_append_push(connection, to, 3);
    reply_append_text(to, kind);
    if (channel)
        render_resp_bulk(to, channel->bytes, channel->len);
    else
        reply_append_null(connection, to);
    reply_append_header(to, ':', count);
}

void resp_append_lost(const struct connection *connection, struct buf *to, struct text channel)
{
    resp_append_subscription(connection, to, "unsubscribe", &channel, resp_count(connection));
}

uint64_t resp_count(const struct connection *connection)
{
    const struct conversation *conversation = &connection->conversation;
    return conversation->subscription_count;
}

static bool resp_check_channel(struct connection *connection, struct text channel, struct buf *to)
{
    if (!connection_check_channel(connection, to, channel) || !connection_admits(connection, to, channel))
        return false;
    char fault[COMMAND_FAULT_MAX];
    if (command_has_room(&connection->conversation, 1, fault))
        return true;
    connection_append_error(connection, to, ERROR_TOO_MANY_CHANNELS, fault);
    return false;
}

/* Nothing to do where the channel is subscribed to already. */
static enum error_code resp_subscribe(struct connection *connection, const struct command_wish *wish,
                                      struct command_wait *wait, char fault[PUBLISH_FAULT_MAX])
{
    struct conversation *conversation = &connection->conversation;
    if (command_subscription_find(conversation, wish->channel))
        return ERROR_NONE;
    enum error_code error = command_admit(conversation, wish->channel, fault);
    if (error != ERROR_NONE)
        return error;
    error = command_subscribe(conversation, wish, wait);
    snprintf(fault, PUBLISH_FAULT_MAX, "%s", error == ERROR_NONE ? "" : error_text(error));
    return error;
}

/* All channels of the command are joined, and answered together when all are in place. */
void resp_run_subscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    const struct start start = {.kind = START_NOW};
    struct connection_wait *wait = connection_wait_begin(connection);
    for (unsigned i = 1; wait && i < call->count; i++) {
        const struct text *channel = &call->arguments[i];
        const struct command_wish wish = {.channel = *channel, .start = &start};
        if (!resp_check_channel(connection, *channel, &wait->text))
            continue;
        char fault[PUBLISH_FAULT_MAX];
        enum error_code error = resp_subscribe(connection, &wish, &wait->super, fault);
        if (error != ERROR_NONE)
            connection_append_error(connection, &wait->text, error, fault);
        else
            resp_append_subscription(connection, &wait->text, "subscribe", channel, resp_count(connection));
    }
    if (wait)
        connection_wait_end(connection);
}

static void resp_unsubscribe_all(struct connection *connection, struct buf *out)
{
    bool has_any = false;
    list_for_each_safe (link, &connection->conversation.subscriptions) {
        struct command_subscription *subscription = container_of(link, struct command_subscription, link);
        const struct text channel = subscription_channel(&subscription->subscriber.one);
        if (command_subscription_is_wild(subscription))
            continue;
        has_any = true;
        resp_append_subscription(connection, out, "unsubscribe", &channel, resp_count(connection) - 1);
        command_unsubscribe(subscription);
    }
    if (!has_any)
        resp_append_subscription(connection, out, "unsubscribe", NULL, resp_count(connection));
}

void resp_run_unsubscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct buf *out = connection_text(connection);
    if (call->count == 1)
        resp_unsubscribe_all(connection, out);
    for (unsigned i = 1; i < call->count; i++) {
        const struct text *channel = &call->arguments[i];
        struct command_subscription *subscription =
            command_subscription_find(&connection->conversation, *channel);
        if (subscription)
            command_unsubscribe(subscription);
        resp_append_subscription(connection, out, "unsubscribe", channel, resp_count(connection));
    }
}

/* Redis says NAME and "/" "*" where we say NAME and CHANNEL_BELOW. A name as long as may be has nothing
 * below. */
static bool resp_read_pattern(struct text pattern, char wild[CHANNEL_NAME_MAX], struct text *name)
{
    if (!text_ends(pattern, "/*") || pattern.len >= CHANNEL_NAME_MAX)
        return false;
    memcpy(wild, pattern.bytes, pattern.len);
    wild[pattern.len] = '*';
    *name = (struct text){wild, pattern.len + 1};
    return channel_name_is_valid(pattern.bytes, pattern.len - strlen("/*"));
}

static struct text resp_pattern_of(const struct command_subscription *subscription)
{
    struct text wild = subscription_channel(&subscription->subscriber.one);
    wild.len--;
    return wild;
}

static unsigned resp_count_patterns(const struct connection *connection)
{
    unsigned count = 0;
    list_for_each (link, &connection->conversation.subscriptions)
        count += command_subscription_is_wild(container_of(link, struct command_subscription, link));
    return count;
}

static void resp_add_pattern(struct connection *connection, struct text pattern, struct connection_wait *wait)
{
    static const struct start start = {.kind = START_NOW};
    char wild[CHANNEL_NAME_MAX];
    struct command_wish wish = {.start = &start};
    if (!resp_read_pattern(pattern, wild, &wish.channel)) {
        connection_append_error(connection, &wait->text, ERROR_BAD_CHANNEL,
                                "a pattern is the name of a channel, a slash and a star, as scores/*");
        return;
    }
    if (!connection_admits(connection, &wait->text, wish.channel))
        return;
    if (!command_subscription_find(&connection->conversation, wish.channel) &&
        resp_count_patterns(connection) >= PATTERNS_MAX) {
        connection_append_error(connection, &wait->text, ERROR_TOO_MANY_CHANNELS,
                                "a connection has at most 64 patterns");
        return;
    }
    char fault[PUBLISH_FAULT_MAX];
    enum error_code error = resp_subscribe(connection, &wish, &wait->super, fault);
    if (error != ERROR_NONE)
        connection_append_error(connection, &wait->text, error, fault);
    else
        resp_append_subscription(connection, &wait->text, "psubscribe", &pattern, resp_count(connection));
}

/* Patterns: all channels below one only. */
void resp_run_psubscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct connection_wait *wait = connection_wait_begin(connection);
    for (unsigned i = 1; wait && i < call->count; i++)
        resp_add_pattern(connection, call->arguments[i], wait);
    if (wait)
        connection_wait_end(connection);
}

static void resp_drop_pattern(struct connection *connection, struct buf *out, struct text pattern)
{
    char wild[CHANNEL_NAME_MAX];
    struct text name;
    struct command_subscription *subscription =
        resp_read_pattern(pattern, wild, &name) ? command_subscription_find(&connection->conversation, name)
                                                : NULL;
    resp_append_subscription(connection, out, "punsubscribe", &pattern,
                             resp_count(connection) - (subscription != NULL));
    if (subscription)
        command_unsubscribe(subscription);
}

void resp_run_punsubscribe(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    struct buf *out = connection_text(connection);
    if (call->count == 1 && resp_count_patterns(connection) == 0)
        resp_append_subscription(connection, out, "punsubscribe", NULL, resp_count(connection));
    list_for_each_safe (link, &connection->conversation.subscriptions) {
        struct command_subscription *subscription = container_of(link, struct command_subscription, link);
        if (call->count == 1 && command_subscription_is_wild(subscription))
            resp_drop_pattern(connection, out, resp_pattern_of(subscription));
    }
    for (unsigned i = 1; i < call->count; i++)
        resp_drop_pattern(connection, out, call->arguments[i]);
}
