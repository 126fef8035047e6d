/* SPDX-License-Identifier: MIT */
/* PSUBSCRIBE of a channel tree: a subscription to every channel below it, also to those that come later. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/connection.h"

static void pattern_found(struct watcher *watcher, const char *name, size_t len, bool is_new)
{
    struct tcp_pattern *pattern = container_of(watcher, struct tcp_pattern, watcher);
    struct connection *connection = pattern->connection;
    /* What is published on a channel before this node has learnt of it is not to be missed. */
    const struct start start = {.kind = is_new ? START_EARLIEST : START_NOW};
    struct conversation *conversation = &connection->conversation;
    struct command_wait *wait = connection->wait ? &connection->wait->super : NULL;
    const struct command_wish wish = {.channel = {name, len}, .start = &start, .maker = pattern};
    char fault[AUTH_FAULT_MAX];
    /* Who was told that he is not told everything is told so once. */
    if (connection->state == CONNECTION_DEAF ||
        command_subscription_find(conversation, pattern, wish.channel) ||
        conversation_check(conversation, ACCESS_SUBSCRIBE, wish.channel, fault) != ERROR_NONE)
        return;
    bool has_room = command_has_room(conversation, 1, fault);
    enum error_code error = has_room ? command_subscribe(conversation, &wish, wait) : ERROR_TOO_MANY_CHANNELS;
    if (error == ERROR_NONE)
        return;
    /* A client that is not told everything is told that. */
    connection_append_error(connection, stream_socket_text(&connection->socket), error,
                            has_room ? error_text(error)
                                     : "more channels are below the pattern than a connection subscribes to "
                                       "(max-channels-per-connection)");
    connection_leave(connection);
}

static void pattern_ready(struct watcher *watcher, enum error_code error)
{
    struct tcp_pattern *pattern = container_of(watcher, struct tcp_pattern, watcher);
    struct connection *connection = pattern->connection;
    if (error != ERROR_NONE) {
        connection_append_error(connection, &connection->wait->text, error, error_text(error));
        tcp_pattern_remove(pattern);
    }
    connection_wait_end(connection);
}

static void pattern_ended(struct watcher *watcher)
{
    free(container_of(watcher, struct tcp_pattern, watcher));
}

static const struct watcher_ops pattern_ops = {
    .found = pattern_found, .ready = pattern_ready, .ended = pattern_ended};

struct tcp_pattern *tcp_pattern_find(const struct connection *connection, struct text text)
{
    list_for_each (link, &connection->patterns) {
        struct tcp_pattern *pattern = container_of(link, struct tcp_pattern, link);
        if (text_equals((struct text){pattern->text, pattern->len}, text))
            return pattern;
    }
    return NULL;
}

/* Nothing is below a name that is as long as a name may be. */
bool tcp_pattern_is_valid(struct text text)
{
    return text_ends(text, "/*") && text.len <= CHANNEL_NAME_MAX &&
           channel_name_is_valid(text.bytes, text.len - 2);
}

static struct tcp_pattern *pattern_new(struct connection *connection, struct text text)
{
    struct tcp_pattern *pattern = calloc(1, sizeof(*pattern) + text.len);
    if (!pattern)
        return NULL;
    pattern->connection = connection;
    pattern->len = text.len;
    memcpy(pattern->text, text.bytes, text.len);
    list_init(&pattern->link);
    return pattern;
}

static void pattern_watch(struct tcp_pattern *pattern)
{
    struct connection *connection = pattern->connection;
    connection->wait->super.awaited++;
    watcher_begin(&pattern->watcher, &connection_shard(connection)->hub, &pattern_ops, pattern->text,
                  pattern->len - 1);
}

int tcp_pattern_add(struct connection *connection, struct text text)
{
    struct tcp_pattern *pattern = pattern_new(connection, text);
    if (!pattern)
        return -ENOMEM;
    list_append(&connection->patterns, &pattern->link);
    connection->pattern_count++;
    pattern_watch(pattern);
    return 0;
}

/* A watcher tells of each channel that there is when it begins: so another one takes the place of the first,
 * before that ends so that none is missed, and its subscriptions, which go on. */
static int pattern_renew(struct tcp_pattern *pattern)
{
    struct connection *connection = pattern->connection;
    struct tcp_pattern *next = pattern_new(connection, (struct text){pattern->text, pattern->len});
    if (!next)
        return -ENOMEM;
    list_prepend(&pattern->link, &next->link);
    list_remove(&pattern->link);
    list_for_each (link, &connection->conversation.subscriptions) {
        struct command_subscription *subscription = container_of(link, struct command_subscription, link);
        if (subscription->maker == pattern)
            subscription->maker = next;
    }
    pattern_watch(next);
    watcher_end(&pattern->watcher);
    return 0;
}

int tcp_patterns_renew(struct connection *connection)
{
    int err = 0;
    list_for_each_safe (link, &connection->patterns)
        if (!err)
            err = pattern_renew(container_of(link, struct tcp_pattern, link));
    return err;
}

void tcp_pattern_remove(struct tcp_pattern *pattern)
{
    list_remove(&pattern->link);
    pattern->connection->pattern_count--;
    command_unsubscribe_made(&pattern->connection->conversation, pattern);
    watcher_end(&pattern->watcher);
}

void tcp_patterns_forget(struct connection *connection)
{
    list_for_each_safe (link, &connection->patterns)
        tcp_pattern_remove(container_of(link, struct tcp_pattern, link));
}
