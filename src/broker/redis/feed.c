/* SPDX-License-Identifier: MIT */
#include "broker/redis/feed.h"

#include <stdio.h>
#include <string.h>

#include "broker/redis/bridge.h"
#include "broker/redis/broker.h"
#include "broker/redis/chronicle.h"
#include "broker/redis/cluster.h"
#include "broker/redis/resident.h"
#include "broker/redis/revocations.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"
#include "broker/redis/watch.h"

void feed_say(struct redis_server *server, const char *command, const char *channel)
{
    const char *const argv[] = {command, channel};
    if (link_send_words(&server->feed, 2, argv, NULL))
        server_fail(server, "no memory");
}

void feed_subscribe(struct redis_server *server, const char *channel)
{
    feed_say(server, server->has_sharded ? "SSUBSCRIBE" : "SUBSCRIBE", channel);
}

void feed_unsubscribe(struct redis_server *server, const char *channel)
{
    feed_say(server, server->has_sharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE", channel);
}

/* The topic of a Pub/Sub channel of ours; NULL when nobody here has it attached. */
static struct topic *feed_find_topic(struct redis_broker *broker, const struct redisReply *channel)
{
    const char *brace = channel->type == REDIS_REPLY_STRING ? memchr(channel->str, '}', channel->len) : NULL;
    size_t skip = brace ? (size_t)(brace - channel->str) + 4 : 0;
    if (!brace || skip > channel->len || memcmp(brace, "}:p:", 4) != 0)
        return NULL;
    return topic_find(broker, (struct text){channel->str + skip, channel->len - skip});
}

static bool feed_is(const struct redisReply *kind, const char *word)
{
    return kind->len == strlen(word) && memcmp(kind->str, word, kind->len) == 0;
}

static void feed_handle_message(struct redis_server *server, const struct redisReply *channel,
                                const struct redisReply *payload)
{
    struct topic *topic = feed_find_topic(server->broker, channel);
    if (topic)
        topic_receive(topic, payload->str, payload->len);
    else if (feed_is(channel, server->probe))
        server_note_probe(server);
    else if (feed_is(channel, REVOCATIONS_CHANNEL))
        revocations_receive(server->broker, (struct text){payload->str, payload->len});
    else if (feed_is(channel, CHRONICLE_CHANNEL))
        chronicle_receive(server->broker, (struct text){payload->str, payload->len});
    else if (watch_is_news(channel->str, channel->len))
        watch_announce(server->broker, payload->str, payload->len);
    else
        bridge_receive(server->broker, NULL, channel, payload);
}

/* Redis drops the subscriptions of a slot that has moved, and says so. */
static void feed_handle_unsubscribed(struct redis_server *server, const struct redisReply *channel)
{
    struct topic *topic = feed_find_topic(server->broker, channel);
    if (topic && topic->resident.server == server)
        topic_unsubscribed(topic);
    else if (channel->type == REDIS_REPLY_STRING && feed_is(channel, server->probe))
        server_fail(server, "the slot of the probe has moved");
    else if (channel->type == REDIS_REPLY_STRING &&
             (watch_is_news(channel->str, channel->len) || feed_is(channel, REVOCATIONS_CHANNEL)))
        cluster_refresh_soon(server->broker);
}

/* An error names no channel; MOVED names the slot. */
static void feed_handle_error(struct redis_server *server, const struct redisReply *reply)
{
    struct redis_broker *broker = server->broker;
    unsigned slot;
    if (server->replies_due > 0) {
        /* What is wrong with the login is said, and told, on the command link. */
        server_note_feed(server);
    } else if (sscanf(reply->str, "MOVED %5u ", &slot) == 1 && slot < REDIS_SLOTS) {
        const char *address = strchr(reply->str + 6, ' ');
        struct redis_server *owner = address ? cluster_find(broker, server, address + 1) : NULL;
        if (owner && owner != server)
            broker->slots[slot] = owner;
        cluster_refresh_soon(broker);
        residents_slots_changed(&server->residents);
    } else {
        char fault[LINK_FAULT_MAX];
        snprintf(fault, sizeof(fault),
                 "%.120s; the user of the broker URL needs the channels sluice:*, see docs/REDIS.md",
                 reply->str);
        server_fail(server, fault);
    }
}

static void feed_handle_three(struct redis_server *server, const struct redisReply *kind,
                              const struct redisReply *channel, const struct redisReply *third)
{
    bool is_text = channel->type == REDIS_REPLY_STRING && third->type == REDIS_REPLY_STRING;
    if (is_text && (feed_is(kind, "smessage") || feed_is(kind, "message"))) {
        feed_handle_message(server, channel, third);
    } else if (feed_is(kind, "ssubscribe") || feed_is(kind, "subscribe")) {
        struct topic *topic = feed_find_topic(server->broker, channel);
        if (topic && topic->resident.server == server)
            topic_subscribed(topic);
        else if (channel->type == REDIS_REPLY_STRING && feed_is(channel, server->probe))
            server_send_probe(server);
        else if (channel->type == REDIS_REPLY_STRING && feed_is(channel, REVOCATIONS_CHANNEL))
            revocations_subscribed(server);
        else if (channel->type == REDIS_REPLY_STRING)
            watch_subscribed(server, channel->str, channel->len);
    } else if (feed_is(kind, "sunsubscribe") || feed_is(kind, "unsubscribe")) {
        feed_handle_unsubscribed(server, channel);
    }
}

void feed_handle_push(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = container_of(link, struct redis_server, feed);
    if (reply->type == REDIS_REPLY_ERROR)
        feed_handle_error(server, reply);
    else if (reply->type != REDIS_REPLY_ARRAY)
        server_note_feed(server);
    else if (reply->elements == 3 && reply->element[0]->type == REDIS_REPLY_STRING)
        feed_handle_three(server, reply->element[0], reply->element[1], reply->element[2]);
    else if (reply->elements == 4 && reply->element[1]->type == REDIS_REPLY_STRING &&
             reply->element[2]->type == REDIS_REPLY_STRING && reply->element[3]->type == REDIS_REPLY_STRING)
        bridge_receive(server->broker, reply->element[1]->str, reply->element[2], reply->element[3]);
}
