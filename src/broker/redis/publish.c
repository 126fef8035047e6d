/* SPDX-License-Identifier: MIT */
#include "broker/redis/publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/bridge.h"
#include "broker/redis/in_doubt.h"
#include "broker/redis/limits.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"
#include "config/options.h"

/* What may wait for Redis to read it: then publishing is refused, not stored up. */
#define PUBLISH_UNSENT_MAX (64u << 20)
/* A line for each: its length, part of an epoch, and limits. */
#define PUBLISH_TREES_TEXT_MAX (CHANNEL_TREES_MAX * (LIMITS_TEXT_MAX + 16u))

/* One of the request, or whoever has begun them, is done. */
static void publish_count_down(struct publish_request *request)
{
    if (--request->remaining > 0)
        return;
    free(request->known);
    broker_answer(&request->super, ERROR_NONE);
}

void publish_finish(struct publish *publish, enum error_code error)
{
    struct redis_broker *broker = publish->call.broker;
    struct publish_item *item = publish->item;
    item->error = error;
    if (error == ERROR_NONE)
        broker_count(&broker->super, item->is_duplicate ? METRIC_DUPLICATES : METRIC_PUBLISHED, 1);
    else
        broker_count(&broker->super, METRIC_PUBLISH_REFUSED, 1);
    broker_count(&broker->super, METRIC_BROKER_PENDING, -1);
    message_unref(item->message);
    item->message = NULL;
    list_remove(&publish->link);
    timer_stop(&broker->wheel, &publish->echo);
    call_deinit(&publish->call);
    publish_count_down(publish->request);
}

/* The message as every other node will make it out of the envelope. */
static void publish_append_own(const struct publish *publish, struct text log, struct message *message,
                               const struct published *published)
{
    struct redis_broker *broker = publish->call.broker;
    struct topic *topic = topic_find(broker, log);
    if (!topic)
        return;
    uint64_t keep_ms = topic_kept(topic)->ttl_ms;
    if (message->ttl_ms > 0 && message->ttl_ms < keep_ms)
        keep_ms = message->ttl_ms;
    message->offset = published->offset;
    message->time_ms = published->time_ms;
    message->expires_ms = broker->now_ms + keep_ms;
    if (message->is_transient)
        topic_pass_own(topic, &published->epoch, message, publish->number);
    else
        topic_append_own(topic, &published->epoch, message);
}

static struct text publish_tree(const struct publish *publish, unsigned index)
{
    return (struct text){publish->item->channel, publish->trees.lens[index]};
}

/* What no memory is there for comes by the feed. */
static void publish_read_own(const struct publish *publish, const struct published *published,
                             const struct redisReply *reply)
{
    struct message *message = publish->item->message;
    if (published->is_duplicate)
        return;
    publish_append_own(publish, publish_channel(publish), message, published);
    for (unsigned i = 0; reply && i < publish->trees.count; i++) {
        struct published above = *published;
        if (!topic_find(publish->call.broker, publish_tree(publish, i)) ||
            answer_parse_published_in(&above, reply, i, publish_tree(publish, i)))
            continue;
        struct message *entry = message_new_entry(message, publish_channel(publish));
        if (entry)
            publish_append_own(publish, publish_tree(publish, i), entry, &above);
        message_unref(entry);
    }
}

void publish_accept(struct publish *publish, const struct published *published,
                    const struct redisReply *reply)
{
    struct publish_item *item = publish->item;
    item->epoch = published->epoch;
    item->offset = published->offset;
    item->time_ms = published->time_ms;
    item->is_duplicate = published->is_duplicate;
    publish_read_own(publish, published, reply);
    publish_finish(publish, ERROR_NONE);
}

static void publish_answered(struct call *call, const struct redisReply *reply)
{
    struct publish *publish = container_of(call, struct publish, call);
    struct published published;
    if (!reply && in_doubt_keep(publish))
        return;
    if (reply && answer_parse_published(&published, reply, publish_channel(publish), publish->trees.count,
                                        publish->item->is_transient) == 0)
        publish_accept(publish, &published, reply);
    else
        publish_finish(publish, call_error(call, reply));
}

/* Finds the trees and writes them as sluice.lua wants them. What is bridged is no tree. */
static int publish_list_trees(struct publish *publish, char to[PUBLISH_TREES_TEXT_MAX])
{
    const struct redis_broker *broker = publish->call.broker;
    struct channel_trees *trees = &publish->trees;
    struct channel_trees found;
    char limits[LIMITS_TEXT_MAX];
    int err = channel_trees_find(&found, broker->options, publish_channel(publish));
    to[0] = '\0';
    trees->count = 0;
    for (unsigned i = 0; !err && i < found.count; i++) {
        const struct text name = {publish->item->channel, found.lens[i]};
        const struct epoch name_part = epoch_of_name(name.bytes, name.len);
        if (bridge_matches(broker, name))
            continue;
        trees->lens[trees->count++] = found.lens[i];
        to += sprintf(to, "%u %.*s %s\n", found.lens[i], EPOCH_NAME_LEN, name_part.text,
                      limits_format(limits, broker->options, name).bytes);
    }
    return err;
}

static enum error_code publish_send(struct publish *publish)
{
    struct redis_broker *broker = publish->call.broker;
    const struct publish_item *item = publish->item;
    const struct message *message = item->message;
    char ttl[21];
    char trees[PUBLISH_TREES_TEXT_MAX];
    if (publish_list_trees(publish, trees))
        return ERROR_TOO_MANY_TREES;
    char limits[LIMITS_TEXT_MAX];
    const char *type = message_type_word((enum message_type)message->type);
    const struct epoch name_part = epoch_of_name(item->channel, item->channel_len);
    const struct text arguments[] = {
        {message_data(message), message->size},
        {message_event(message), message->event_len},
        {"type", 4},
        {type, strlen(type)},
        {"limits", 6},
        limits_format(limits, broker->options, publish_channel(publish)),
        {"mark", 4},
        {publish->mark, strlen(publish->mark)},
        {"ttl", 3},
        call_number(ttl, message->ttl_ms / 1000),
        {"producer", 8},
        {message_producer(message), message->producer_len},
        {"mime", 4},
        {message_producer(message) + message->producer_len, message->mime_len},
        {"conflate", 8},
        message_key(message),
        {"store", 5},
        text_of(message->is_transient ? "no" : "yes"),
        {"trees", 5},
        text_of(trees),
        {"part", 4},
        {name_part.text, EPOCH_NAME_LEN},
        {"key", 3},
        {item->key, item->key_len},
    };
    const struct call_touched touched = {{item->key, item->key_len}, &publish->trees};
    enum error_code error = call_prepare(&publish->call, broker, "publish", publish_channel(publish),
                                         &touched, arguments, ARRAY_LENGTH(arguments), publish_answered);
    if (error != ERROR_NONE)
        return error;
    if (call_find_server(broker, publish->call.slot)->commands.unsent_bytes > PUBLISH_UNSENT_MAX)
        return ERROR_BROKER_DOWN;
    call_submit(&publish->call);
    return ERROR_NONE;
}

/* Bridged channels: plain PUBLISH. The id is that which the message gets in this node's log when it comes
 * back. */

static void publish_end_bridged(struct publish *publish)
{
    if (publish->is_answered && publish->is_seen)
        publish_finish(publish, ERROR_NONE);
}

static void publish_bridged_answered(struct call *call, const struct redisReply *reply)
{
    struct publish *publish = container_of(call, struct publish, call);
    struct redis_broker *broker = publish->call.broker;
    if (!reply || reply->type != REDIS_REPLY_INTEGER) {
        publish_finish(publish, call_error(call, reply));
        return;
    }
    publish->is_answered = true;
    timer_arm(&broker->wheel, &publish->echo, broker->now_ms + broker->options->redis_timeout_ms);
    publish_end_bridged(publish);
}

static void publish_echo_missing(struct timer *timer)
{
    publish_finish(container_of(timer, struct publish, echo), ERROR_BROKER_DOWN);
}

static enum error_code publish_send_bridged(struct publish *publish)
{
    struct redis_broker *broker = publish->call.broker;
    const struct publish_item *item = publish->item;
    const struct message *message = item->message;
    const char *const argv[] = {"PUBLISH", item->channel, message_data(message)};
    const size_t lengths[] = {7, item->channel_len, message->size};
    struct redis_server *server = bridge_server(broker);
    if (message->event_len > 0 || message->producer_len > 0 || message->key_len > 0 || message->ttl_ms > 0 ||
        item->key_len > 0 || message->is_transient)
        return ERROR_BRIDGED;
    if (!server)
        return ERROR_BROKER_DOWN;
    if (call_prepare_command(&publish->call, server, 3, argv, lengths, publish_bridged_answered))
        return ERROR_OUT_OF_MEMORY;
    list_append(&broker->bridged_publishes, &publish->link);
    call_submit(&publish->call);
    return ERROR_NONE;
}

void publish_note_echo(const struct topic *topic, struct text data)
{
    list_for_each (link, &topic->broker->bridged_publishes) {
        struct publish *publish = container_of(link, struct publish, link);
        struct publish_item *item = publish->item;
        const struct text sent = {message_data(item->message), item->message->size};
        if (publish->is_seen || !text_equals(publish_channel(publish), topic_name(topic)) ||
            !text_equals(sent, data))
            continue;
        item->epoch = topic->log.epoch;
        item->offset = topic->log.top;
        item->time_ms = topic->last_published_ms;
        item->type = (uint8_t)message_type_guess(data.bytes, data.len);
        publish->is_seen = true;
        publish_end_bridged(publish);
        return;
    }
}

void publish_fail_bridged(struct redis_broker *broker)
{
    list_drain (link, &broker->bridged_publishes)
        publish_finish(container_of(link, struct publish, link), ERROR_STOPPING);
}

/* Requests. */

static void publish_begin(struct publish *publish)
{
    struct redis_broker *broker = publish->call.broker;
    publish->submitted_ms = broker->now_ms;
    list_init(&publish->link);
    timer_init(&publish->echo, publish_echo_missing);
    timer_init(&publish->call.timer, NULL);
    publish->number = ++broker->marks;
    snprintf(publish->mark, sizeof(publish->mark), "%s.%llu", broker->node,
             (unsigned long long)publish->number);
    broker_count(&broker->super, METRIC_BROKER_PENDING, 1);
    enum error_code error = bridge_matches(broker, publish_channel(publish)) ? publish_send_bridged(publish)
                                                                             : publish_send(publish);
    if (error != ERROR_NONE)
        publish_finish(publish, error);
}

void publish_submit(struct redis_broker *broker, struct publish_request *request)
{
    struct publish *publishes = calloc(request->count, sizeof(*publishes));
    if (!publishes) {
        broker_answer(&request->super, ERROR_OUT_OF_MEMORY);
        return;
    }
    request->known = publishes;
    /* One more, so that the request outlives the loop. */
    request->remaining = 1;
    for (size_t i = 0; i < request->count; i++) {
        if (!request->items[i].message)
            continue;
        request->remaining++;
        publishes[i] =
            (struct publish){.call.broker = broker, .request = request, .item = &request->items[i]};
        publish_begin(&publishes[i]);
    }
    publish_count_down(request);
}
