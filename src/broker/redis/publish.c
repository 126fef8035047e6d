/* SPDX-License-Identifier: MIT */
#include "broker/redis/publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/bridge.h"
#include "broker/redis/in_doubt.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"
#include "config/options.h"

/* What may wait for Redis to read it: then publishing is refused, not stored up. */
#define PUBLISH_UNSENT_MAX (64u << 20)

void publication_finish(struct publication *publication, enum error_code error)
{
    struct job *job = publication->job;
    struct publish_item *item = publication->item;
    item->error = error;
    if (error == ERROR_NONE)
        broker_count(&job->broker->super, item->is_duplicate ? METRIC_DUPLICATES : METRIC_PUBLISHED, 1);
    else
        broker_count(&job->broker->super, METRIC_PUBLISH_REFUSED, 1);
    broker_count(&job->broker->super, METRIC_BROKER_PENDING, -1);
    message_unref(item->message);
    item->message = NULL;
    list_remove(&publication->link);
    timer_stop(&job->broker->wheel, &publication->echo);
    call_deinit(&publication->call);
    if (--job->remaining > 0)
        return;
    broker_answer(&job->request->super, ERROR_NONE);
    free(job);
}

/* The message as every other node will make it out of the envelope. */
static void publication_read_own(struct publication *publication)
{
    struct redis_broker *broker = publication->job->broker;
    struct publish_item *item = publication->item;
    struct message *message = item->message;
    struct topic *topic = topic_find(broker, item->channel, item->channel_len);
    uint64_t keep_ms = broker->options->history_ttl_ms;
    if (!topic || item->is_duplicate)
        return;
    if (message->ttl_ms > 0 && message->ttl_ms < keep_ms)
        keep_ms = message->ttl_ms;
    message->offset = item->offset;
    message->time_ms = item->time_ms;
    message->expires_ms = broker->now_ms + keep_ms;
    topic_append_own(topic, &item->epoch, message);
}

void publication_accept(struct publication *publication, const struct published *published)
{
    struct publish_item *item = publication->item;
    item->epoch = published->epoch;
    item->offset = published->offset;
    item->time_ms = published->time_ms;
    item->is_duplicate = published->is_duplicate;
    publication_read_own(publication);
    publication_finish(publication, ERROR_NONE);
}

static void publication_answered(struct call *call, const struct redisReply *reply)
{
    struct publication *publication = container_of(call, struct publication, call);
    const struct publish_item *item = publication->item;
    struct published published;
    if (!reply && in_doubt_keep(publication))
        return;
    if (reply &&
        answer_parse_published(&published, reply, (struct text){item->channel, item->channel_len}) == 0)
        publication_accept(publication, &published);
    else
        publication_finish(publication, call_error(call, reply));
}

static enum error_code publication_send(struct publication *publication)
{
    struct redis_broker *broker = publication->job->broker;
    const struct publish_item *item = publication->item;
    const struct message *message = item->message;
    char ttl[21];
    const char *type = message_type_word((enum message_type)message->type);
    const struct epoch name_part = epoch_of_name(item->channel, item->channel_len);
    const struct text arguments[] = {
        {message_data(message), message->size},
        {message_event(message), message->event_len},
        {"type", 4},
        {type, strlen(type)},
        {"limits", 6},
        {broker->limits, strlen(broker->limits)},
        {"mark", 4},
        {publication->mark, strlen(publication->mark)},
        {"ttl", 3},
        call_number(ttl, message->ttl_ms / 1000),
        {"producer", 8},
        {message_producer(message), message->producer_len},
        {"mime", 4},
        {message_producer(message) + message->producer_len, message->mime_len},
        {"part", 4},
        {name_part.text, EPOCH_NAME_LEN},
        {"key", 3},
        {item->key, item->key_len},
    };
    enum error_code error = call_prepare(
        &publication->call, broker, "publish", (struct text){item->channel, item->channel_len},
        (struct text){item->key, item->key_len}, arguments, ARRAY_LENGTH(arguments), publication_answered);
    if (error != ERROR_NONE)
        return error;
    if (call_find_server(broker, publication->call.slot)->commands.unsent_bytes > PUBLISH_UNSENT_MAX)
        return ERROR_BROKER_DOWN;
    call_submit(&publication->call);
    return ERROR_NONE;
}

/* Bridged channels: plain PUBLISH. The id is that which the message gets in this node's log when it comes
 * back. */

static void publication_end_bridged(struct publication *publication)
{
    if (publication->is_answered && publication->is_seen)
        publication_finish(publication, ERROR_NONE);
}

static void publication_bridged_answered(struct call *call, const struct redisReply *reply)
{
    struct publication *publication = container_of(call, struct publication, call);
    struct redis_broker *broker = publication->job->broker;
    if (!reply || reply->type != REDIS_REPLY_INTEGER) {
        publication_finish(publication, call_error(call, reply));
        return;
    }
    publication->is_answered = true;
    timer_arm(&broker->wheel, &publication->echo, broker->now_ms + broker->options->redis_timeout_ms);
    publication_end_bridged(publication);
}

static void publication_echo_missing(struct timer *timer)
{
    publication_finish(container_of(timer, struct publication, echo), ERROR_BROKER_DOWN);
}

static enum error_code publication_send_bridged(struct publication *publication)
{
    struct redis_broker *broker = publication->job->broker;
    const struct publish_item *item = publication->item;
    const struct message *message = item->message;
    const char *const argv[] = {"PUBLISH", item->channel, message_data(message)};
    const size_t lengths[] = {7, item->channel_len, message->size};
    struct server *server = bridge_server(broker);
    if (message->event_len > 0 || message->producer_len > 0 || message->ttl_ms > 0 || item->key_len > 0)
        return ERROR_BRIDGED;
    if (!server)
        return ERROR_BROKER_DOWN;
    if (call_prepare_command(&publication->call, server, 3, argv, lengths, publication_bridged_answered))
        return ERROR_OUT_OF_MEMORY;
    list_append(&broker->bridged_publications, &publication->link);
    call_submit(&publication->call);
    return ERROR_NONE;
}

void publish_note_echo(const struct topic *topic, uint64_t offset, const char *bytes, size_t len)
{
    list_for_each (link, &topic->broker->bridged_publications) {
        struct publication *publication = container_of(link, struct publication, link);
        struct publish_item *item = publication->item;
        if (publication->is_seen || item->channel_len != topic->name_len || item->message->size != len ||
            memcmp(item->channel, topic->name, topic->name_len) != 0 ||
            memcmp(message_data(item->message), bytes, len) != 0)
            continue;
        item->epoch = topic->log.epoch;
        item->offset = offset;
        item->time_ms = topic->last_published_ms;
        item->type = (uint8_t)message_type_guess(bytes, len);
        publication->is_seen = true;
        publication_end_bridged(publication);
        return;
    }
}

void publish_fail_bridged(struct redis_broker *broker)
{
    list_drain (link, &broker->bridged_publications)
        publication_finish(container_of(link, struct publication, link), ERROR_STOPPING);
}

/* Requests. */

static void publish_item(struct job *job, struct publish_item *item, struct publication *publication)
{
    struct redis_broker *broker = job->broker;
    publication->job = job;
    publication->item = item;
    publication->submitted_ms = broker->now_ms;
    publication->call.broker = broker;
    list_init(&publication->link);
    timer_init(&publication->echo, publication_echo_missing);
    timer_init(&publication->call.timer, NULL);
    snprintf(publication->mark, sizeof(publication->mark), "%s.%llu", broker->node,
             (unsigned long long)++broker->marks);
    broker_count(&broker->super, METRIC_BROKER_PENDING, 1);
    enum error_code error = bridge_matches(broker, item->channel, item->channel_len)
                                ? publication_send_bridged(publication)
                                : publication_send(publication);
    if (error != ERROR_NONE)
        publication_finish(publication, error);
}

void publish_submit(struct redis_broker *broker, struct publish_request *request)
{
    struct job *job = calloc(1, sizeof(*job) + request->count * sizeof(struct publication));
    if (!job) {
        broker_answer(&request->super, ERROR_OUT_OF_MEMORY);
        return;
    }
    job->broker = broker;
    job->request = request;
    /* One more, so that the job outlives the loop. */
    job->remaining = 1;
    for (size_t i = 0; i < request->count; i++) {
        if (!request->items[i].message)
            continue;
        job->remaining++;
        publish_item(job, &request->items[i], &job->publications[i]);
    }
    if (--job->remaining > 0)
        return;
    broker_answer(&request->super, ERROR_NONE);
    free(job);
}
