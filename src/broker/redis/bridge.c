/* SPDX-License-Identifier: MIT */
#include "broker/redis/bridge.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/redis/broker.h"
#include "broker/redis/envelope.h"
#include "broker/redis/feed.h"
#include "broker/redis/publish.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"
#include "config/options.h"

/* What a channel takes beside its messages. */
#define BRIDGE_CHANNEL_BYTES 1024u

static bool bridge_is_pattern(const char *item)
{
    return strpbrk(item, "*?[\\") != NULL;
}

static int bridge_add(struct redis_broker *broker, const char *text)
{
    char *copy = strdup(text);
    char *rest = NULL;
    int err = copy ? 0 : -ENOMEM;
    for (char *item = copy ? strtok_r(copy, ", ", &rest) : NULL; item && !err;
         item = strtok_r(NULL, ", ", &rest)) {
        char **bridges = realloc(broker->bridges, (broker->bridge_count + 1) * sizeof(*bridges));
        if (bridges)
            broker->bridges = bridges;
        if (!bridges || !(bridges[broker->bridge_count] = strdup(item)))
            err = -ENOMEM;
        else
            broker->bridge_count++;
    }
    free(copy);
    return err;
}

int bridge_init(struct redis_broker *broker)
{
    const struct string_list *items = &broker->options->redis_subscribe;
    int err = 0;
    for (size_t i = 0; i < items->count && !err; i++)
        err = bridge_add(broker, items->items[i]);
    return err;
}

void bridge_deinit(struct redis_broker *broker)
{
    for (size_t i = 0; i < broker->bridge_count; i++)
        free(broker->bridges[i]);
    free(broker->bridges);
}

/* Which item the channel comes by: a name before patterns, of several patterns the first. NULL when none. */
static const char *bridge_find(const struct redis_broker *broker, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < broker->bridge_count; i++) {
        const char *item = broker->bridges[i];
        if (strcmp(item, name) == 0)
            return item;
        if (!found && bridge_is_pattern(item) && fnmatch(item, name, 0) == 0)
            found = item;
    }
    return found;
}

bool bridge_matches(const struct redis_broker *broker, const char *name, size_t len)
{
    char text[CHANNEL_NAME_MAX + 1];
    if (broker->bridge_count == 0)
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)len, name);
    return bridge_find(broker, text) != NULL;
}

static bool bridge_is_first(const struct server *server)
{
    list_for_each (link, &server->broker->servers) {
        const struct server *other = container_of(link, const struct server, link);
        if (other != server && other->has_bridge)
            return false;
    }
    return true;
}

void bridge_server_up(struct server *server)
{
    struct redis_broker *broker = server->broker;
    struct topic *topic;
    struct topic *next;
    server->has_bridge = broker->bridge_count > 0 && bridge_is_first(server);
    for (size_t i = 0; server->has_bridge && i < broker->bridge_count; i++)
        feed_subscribe(server, bridge_is_pattern(broker->bridges[i]) ? "PSUBSCRIBE" : "SUBSCRIBE",
                       broker->bridges[i]);
    HASH_ITER (hh, broker->topics, topic, next) {
        if (server->has_bridge && topic->is_bridged && broker->was_bridged)
            topic_renew_bridged(topic);
    }
    broker->was_bridged |= server->has_bridge;
}

void bridge_server_lost(struct server *server)
{
    bool had_bridge = server->has_bridge;
    server->has_bridge = false;
    list_for_each (link, &server->broker->servers) {
        struct server *other = container_of(link, struct server, link);
        if (had_bridge && other->state >= SERVER_UP) {
            bridge_server_up(other);
            break;
        }
    }
}

/* With a name and a pattern, or two patterns, that match, Redis delivers a message once for each. */
static bool bridge_is_repeat(const struct redis_broker *broker, const char *pattern, const char *name)
{
    const char *by = bridge_find(broker, name);
    return !by || (pattern ? strcmp(by, pattern) != 0 : bridge_is_pattern(by) && strcmp(by, name) != 0);
}

/* Anybody who can publish can make channels by a pattern. */
static bool bridge_is_full(const struct redis_broker *broker)
{
    uint64_t channels = atomic_load_explicit(&broker->super.counters[METRIC_CHANNELS], memory_order_relaxed);
    return message_memory_bytes() + channels * BRIDGE_CHANNEL_BYTES > broker->options->memory_limit_bytes;
}

void bridge_take(struct redis_broker *broker, const char *pattern, const struct redisReply *channel,
                 const struct redisReply *payload)
{
    struct envelope envelope;
    if (strlen(channel->str) != channel->len || bridge_is_repeat(broker, pattern, channel->str))
        return;
    broker_count(&broker->super, METRIC_BROKER_RECEIVED, 1);
    if (!channel_name_is_valid(channel->str, channel->len) || payload->len > MESSAGE_SIZE_MAX) {
        log_event(LOG_WARN, "bridge-refused", LOG_TEXT("channel", channel->str),
                  LOG_TEXT("reason", payload->len > MESSAGE_SIZE_MAX ? "the message is over 64 MiB"
                                                                     : "that is no channel name here"),
                  LOG_TEXT("action", "docs/PROTOCOL.md says what a channel may be called"));
        return;
    }
    struct topic *topic = topic_find(broker, channel->str, channel->len);
    if (!topic && bridge_is_full(broker)) {
        log_event(LOG_WARN, "bridge-refused", LOG_TEXT("channel", channel->str),
                  LOG_TEXT("reason", "messages and channels in use fill the memory limit"),
                  LOG_TEXT("action", "raise memory-limit, or keep less with history-size and history-ttl"));
        return;
    }
    if (!topic)
        topic = topic_get_bridged(broker, channel->str, channel->len);
    envelope_of_payload(&envelope, payload->str, payload->len);
    uint64_t offset = topic ? topic_take_bridged(topic, &envelope) : 0;
    if (offset > 0)
        publish_take_bridged(topic, offset, payload->str, payload->len);
}
