/* SPDX-License-Identifier: MIT */
#include "broker/redis/ask.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/redis/answer.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"

#define HISTORY_BYTES (4u << 20)

struct ask {
    struct call call;
    struct broker_request *request;
};

static void ask_begin(struct redis_broker *broker, struct broker_request *request, const char *function,
                      struct text channel, const struct text *arguments, unsigned count,
                      void (*done)(struct call *call, const struct redisReply *reply))
{
    struct ask *ask = calloc(1, sizeof(*ask));
    enum error_code error =
        ask ? call_prepare(&ask->call, broker, function, channel, NULL, arguments, count, done)
            : ERROR_OUT_OF_MEMORY;
    if (error != ERROR_NONE) {
        free(ask);
        broker_answer(request, error);
        return;
    }
    ask->request = request;
    call_submit(&ask->call);
}

static struct broker_request *ask_request(struct call *call)
{
    return container_of(call, struct ask, call)->request;
}

/* What the parsing of the answer has returned, as an error. */
static enum error_code ask_error(const struct call *call, int err, const struct redisReply *reply)
{
    return err == 0 ? ERROR_NONE : err == -ENOENT ? ERROR_NO_CHANNEL : call_error(call, reply);
}

static void ask_end(struct call *call, enum error_code error)
{
    broker_answer(ask_request(call), error);
    call_deinit(call);
    free(container_of(call, struct ask, call));
}

/* Pages of history. */

static enum error_code history_from_topic(struct history_request *request, const struct topic *topic)
{
    const struct ring *ring = &topic->ring;
    size_t end = request->to == UINT64_MAX ? ring->count : ring_find(ring, request->to + 1);
    request->log = topic->log;
    return ring_copy(&request->messages, ring, ring_find(ring, request->from), end, topic->broker->now_ms)
               ? ERROR_OUT_OF_MEMORY
               : ERROR_NONE;
}

static enum error_code history_from_reading(struct history_request *request, const struct reading *reading,
                                            uint64_t now_ms)
{
    enum error_code error = ERROR_NONE;
    uint64_t last = 0;
    request->log = reading->log;
    for (size_t i = 0; i < reading->count && error == ERROR_NONE; i++) {
        struct message *message = reading_make_message(reading, i, now_ms);
        if (!message || message->offset <= last) {
            message_unref(message);
            continue;
        }
        last = message->offset;
        error = ring_append_or_drop(&request->messages, message) ? ERROR_OUT_OF_MEMORY : ERROR_NONE;
    }
    /* An answer that had become too large ends early; who wants the rest asks for it. */
    if (reading->last > 0 && request->to > reading->last && reading->log.top > reading->last)
        request->to = reading->last;
    return error;
}

static void history_answered(struct call *call, const struct redisReply *reply)
{
    struct history_request *request = container_of(ask_request(call), struct history_request, super);
    struct reading reading;
    int err = reply ? answer_parse_reading(&reading, reply, request->name) : -EBADMSG;
    enum error_code error = ask_error(call, err, reply);
    if (error == ERROR_NONE)
        error = history_from_reading(request, &reading, call->broker->now_ms);
    /* A log that this node does not know yet, or one that is to be mended: its subscribers are to be told. */
    struct topic *topic = topic_find(call->broker, request->name);
    if (topic && topic->state == TOPIC_LIVE &&
        (err || (error == ERROR_NONE && !epoch_equals(&topic->log.epoch, &request->log.epoch))))
        topic_open(topic);
    ask_end(call, error);
}

static void history_ask(struct redis_broker *broker, struct history_request *request)
{
    char from[21];
    char to[21];
    char most[21];
    char bytes[21];
    uint64_t wanted = request->to >= request->from ? request->to - request->from + 1 : 0;
    const struct text arguments[] = {call_number(from, request->from), call_number(to, request->to),
                                     call_number(most, wanted), call_number(bytes, HISTORY_BYTES)};
    ask_begin(broker, &request->super, "read", request->name, arguments, ARRAY_LENGTH(arguments),
              history_answered);
}

/* Whether this node can answer alone. */
static bool history_is_here(const struct history_request *request, const struct topic *topic)
{
    const struct ring *ring = &topic->ring;
    if (topic->state == TOPIC_BRIDGED)
        return true;
    if (request->to < request->from)
        return topic->log.top >= request->from;
    return ring->count > 0 && ring_at(ring, 0)->offset <= request->from && topic->log.top >= request->to;
}

void ask_history(struct redis_broker *broker, struct history_request *request)
{
    struct topic *topic = topic_find(broker, request->name);
    if (topic)
        topic_expire_ring(topic);
    if (!topic || !topic->has_log)
        broker_answer(&request->super, ERROR_NO_CHANNEL);
    else if (history_is_here(request, topic))
        broker_answer(&request->super, history_from_topic(request, topic));
    else
        history_ask(broker, request);
}

/* Looking and purging. */

void ask_inspect_bridged(struct inspection *channel, struct topic *topic)
{
    topic_expire_ring(topic);
    channel->epoch = topic->log.epoch;
    channel->messages = topic->ring.count;
    channel->bytes = topic->ring.bytes;
    channel->oldest = topic->log.oldest;
    channel->top = topic->log.top;
    channel->last_published_ms = topic->last_published_ms;
}

static struct inspection *inspection_of(struct call *call)
{
    return &container_of(ask_request(call), struct inspect_request, super)->channel;
}

static void inspection_answered(struct call *call, const struct redisReply *reply)
{
    int err = reply ? answer_parse_inspection(inspection_of(call), reply) : -EBADMSG;
    ask_end(call, ask_error(call, err, reply));
}

static void purge_answered(struct call *call, const struct redisReply *reply)
{
    int err = reply ? answer_parse_purge(&inspection_of(call)->messages, reply) : -EBADMSG;
    ask_end(call, ask_error(call, err, reply));
}

/* The topic where the log is here; otherwise Redis is asked. */
static struct topic *inspection_begin(struct redis_broker *broker, struct inspect_request *request,
                                      const char *function,
                                      void (*done)(struct call *call, const struct redisReply *reply))
{
    const struct text name = {request->channel.name, request->channel.name_len};
    struct topic *topic = topic_find(broker, name);
    if (topic && topic->state == TOPIC_BRIDGED)
        return topic;
    ask_begin(broker, &request->super, function, name, NULL, 0, done);
    return NULL;
}

void ask_inspect(struct redis_broker *broker, struct inspect_request *request)
{
    struct topic *topic = inspection_begin(broker, request, "inspect", inspection_answered);
    if (!topic)
        return;
    ask_inspect_bridged(&request->channel, topic);
    broker_answer(&request->super, ERROR_NONE);
}

void ask_purge(struct redis_broker *broker, struct inspect_request *request)
{
    struct topic *topic = inspection_begin(broker, request, "purge", purge_answered);
    if (!topic)
        return;
    request->channel.messages = topic->ring.count;
    topic_purge_bridged(topic);
    broker_answer(&request->super, ERROR_NONE);
}
