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
#include "broker/redis/resident.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"
#include "config/options.h"

/* What a channel takes beside its messages. */
#define BRIDGE_CHANNEL_BYTES 1024u

struct bridge {
    struct resident resident; /* of the server where all is subscribed */
    bool was_up;              /* a bridge stood before, so that a new one may have missed something */
    char **items;             /* names and patterns of redis-subscribe */
    size_t count;
};

static bool bridge_is_pattern(const char *item)
{
    return strpbrk(item, "*?[\\") != NULL;
}

/* Living somewhere. */

static struct bridge *bridge_of(struct resident *resident)
{
    return container_of(resident, struct bridge, resident);
}

static void bridge_server_up(struct resident *resident, struct redis_server *server)
{
    struct bridge *bridge = bridge_of(resident);
    struct topic *topic;
    struct topic *next;
    resident_move(resident, server);
    for (size_t i = 0; i < bridge->count; i++)
        feed_say(server, bridge_is_pattern(bridge->items[i]) ? "PSUBSCRIBE" : "SUBSCRIBE", bridge->items[i]);
    HASH_ITER (hh, resident->broker->topics, topic, next) {
        if (topic->state == TOPIC_BRIDGED && bridge->was_up)
            topic_renew_bridged(topic);
    }
    bridge->was_up = true;
}

/* In a Cluster another server takes over. */
static void bridge_server_lost(struct resident *resident)
{
    resident_move(resident, NULL);
    list_for_each (link, &resident->broker->servers) {
        struct redis_server *other = container_of(link, struct redis_server, link);
        if (other->state >= SERVER_UP) {
            bridge_server_up(resident, other);
            break;
        }
    }
}

static void bridge_ended(struct resident *resident)
{
    struct bridge *bridge = bridge_of(resident);
    publish_fail_bridged(resident->broker);
    resident->broker->bridge = NULL;
    resident_deinit(resident);
    for (size_t i = 0; i < bridge->count; i++)
        free(bridge->items[i]);
    free(bridge->items);
    free(bridge);
}

static const struct resident_ops bridge_resident_ops = {
    .up = bridge_server_up,
    .lost = bridge_server_lost,
    .ended = bridge_ended,
};

struct redis_server *bridge_server(const struct redis_broker *broker)
{
    return broker->bridge ? broker->bridge->resident.server : NULL;
}

static int bridge_add(struct bridge *bridge, const char *text)
{
    char *copy = strdup(text);
    char *rest = NULL;
    int err = copy ? 0 : -ENOMEM;
    for (char *item = copy ? strtok_r(copy, ", ", &rest) : NULL; item && !err;
         item = strtok_r(NULL, ", ", &rest)) {
        char **items = realloc(bridge->items, (bridge->count + 1) * sizeof(*items));
        if (items)
            bridge->items = items;
        if (!items || !(items[bridge->count] = strdup(item)))
            err = -ENOMEM;
        else
            bridge->count++;
    }
    free(copy);
    return err;
}

int bridge_init(struct redis_broker *broker)
{
    const struct string_list *texts = &broker->options->redis_subscribe;
    int err = 0;
    if (texts->count == 0)
        return 0;
    broker->bridge = calloc(1, sizeof(*broker->bridge));
    if (!broker->bridge)
        return -ENOMEM;
    resident_init(&broker->bridge->resident, &bridge_resident_ops, broker);
    for (size_t i = 0; i < texts->count && !err; i++)
        err = bridge_add(broker->bridge, texts->items[i]);
    return err;
}

/* Which item the channel comes by: a name before patterns, of several patterns the first. NULL when none. */
static const char *bridge_find(const struct redis_broker *broker, const char *name)
{
    const struct bridge *bridge = broker->bridge;
    const char *found = NULL;
    for (size_t i = 0; bridge && i < bridge->count; i++) {
        const char *item = bridge->items[i];
        if (strcmp(item, name) == 0)
            return item;
        if (!found && bridge_is_pattern(item) && fnmatch(item, name, 0) == 0)
            found = item;
    }
    return found;
}

bool bridge_matches(const struct redis_broker *broker, struct text name)
{
    char text[CHANNEL_NAME_MAX + 1];
    if (!broker->bridge || channel_name_is_reserved(name))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)name.len, name.bytes);
    return bridge_find(broker, text) != NULL;
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

void bridge_receive(struct redis_broker *broker, const char *pattern, const struct redisReply *channel,
                    const struct redisReply *payload)
{
    const struct text name = {channel->str, channel->len};
    struct envelope envelope;
    if (strlen(channel->str) != channel->len || bridge_is_repeat(broker, pattern, channel->str))
        return;
    broker_count(&broker->super, METRIC_BROKER_RECEIVED, 1);
    if (!channel_name_is_valid(channel->str, channel->len) ||
        channel_name_is_reserved((struct text){channel->str, channel->len}) ||
        payload->len > MESSAGE_SIZE_MAX) {
        log_event(LOG_WARN, "bridge-refused", LOG_TEXT("channel", channel->str),
                  LOG_TEXT("reason", payload->len > MESSAGE_SIZE_MAX ? "the message is over 64 MiB"
                                                                     : "that is no channel name here"),
                  LOG_TEXT("action", "docs/PROTOCOL.md says what a channel may be called"));
        return;
    }
    struct topic *topic = topic_find(broker, name);
    if (!topic && bridge_is_full(broker)) {
        log_event(LOG_WARN, "bridge-refused", LOG_TEXT("channel", channel->str),
                  LOG_TEXT("reason", "messages and channels in use fill the memory limit"),
                  LOG_TEXT("action", "raise memory-limit, or keep less with history-size and history-ttl"));
        return;
    }
    if (!topic)
        topic = topic_get_bridged(broker, name);
    envelope_of_payload(&envelope, payload->str, payload->len);
    if (topic && topic_append_bridged(topic, &envelope) == 0)
        publish_note_echo(topic, (struct text){payload->str, payload->len});
}
