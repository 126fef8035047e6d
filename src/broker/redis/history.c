/* SPDX-License-Identifier: MIT */
#include "broker/redis/history.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/redis/answer.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"

#define HISTORY_BYTES (4u << 20)

struct history_call {
    struct call call;
    struct history_request *request;
};

/* Adds a message, taking over its reference. */
static enum error_code history_add(struct history_request *request, struct message *message)
{
    if (ring_append(&request->messages, message) == 0)
        return ERROR_NONE;
    message_unref(message);
    ring_deinit(&request->messages);
    return ERROR_OUT_OF_MEMORY;
}

static enum error_code history_from_topic(struct history_request *request, const struct topic *topic)
{
    const struct ring *ring = &topic->ring;
    size_t end = request->to == UINT64_MAX ? ring->count : ring_find(ring, request->to + 1);
    request->epoch = topic->epoch;
    request->ancestry = topic->ancestry;
    request->top = topic->top;
    request->oldest = topic->oldest;
    return ring_copy(&request->messages, ring, ring_find(ring, request->from), end, topic->broker->now_ms)
               ? ERROR_OUT_OF_MEMORY
               : ERROR_NONE;
}

static enum error_code history_from_reading(struct history_request *request, const struct reading *reading,
                                            uint64_t now_ms)
{
    enum error_code error = ERROR_NONE;
    uint64_t last = 0;
    request->epoch = reading->epoch;
    request->ancestry = reading->ancestry;
    request->top = reading->top;
    request->oldest = reading->oldest;
    for (size_t i = 0; i < reading->count && error == ERROR_NONE; i++) {
        struct message *message = reading_make_message(reading, i, now_ms);
        if (!message || message->offset <= last) {
            message_unref(message);
            continue;
        }
        last = message->offset;
        error = history_add(request, message);
    }
    /* An answer that had become too large ends early; who wants the rest asks for it. */
    if (reading->last > 0 && request->to > reading->last && reading->top > reading->last)
        request->to = reading->last;
    return error;
}

static void history_answered(struct call *call, const struct redisReply *reply)
{
    struct history_call *history = container_of(call, struct history_call, call);
    struct history_request *request = history->request;
    struct reading reading;
    int err = reply ? answer_parse_reading(&reading, reply, request->name, request->name_len) : -EBADMSG;
    enum error_code error = err == 0         ? history_from_reading(request, &reading, call->broker->now_ms)
                            : err == -ENOENT ? ERROR_NO_CHANNEL
                                             : call_error(call, reply);
    /* A log that this node does not know yet, or one that is to be mended: its subscribers are to be told. */
    struct topic *topic = topic_find(call->broker, request->name, request->name_len);
    if (topic && topic->state == TOPIC_LIVE &&
        (err || (error == ERROR_NONE && !epoch_equals(&topic->epoch, &request->epoch))))
        topic_open(topic);
    broker_answer(&request->super, error);
    call_deinit(call);
    free(history);
}

static enum error_code history_ask(struct redis_broker *broker, struct history_request *request)
{
    char from[21];
    char to[21];
    char most[21];
    char bytes[21];
    uint64_t wanted = request->to >= request->from ? request->to - request->from + 1 : 0;
    struct history_call *history = calloc(1, sizeof(*history));
    const struct text arguments[] = {call_number(from, request->from), call_number(to, request->to),
                                     call_number(most, wanted), call_number(bytes, HISTORY_BYTES)};
    int err = history ? call_prepare(&history->call, broker, "read",
                                     (struct text){request->name, request->name_len}, (struct text){0},
                                     arguments, ARRAY_LENGTH(arguments), history_answered)
                      : -ENOMEM;
    if (err) {
        free(history);
        return err == -ENOMEM ? ERROR_OUT_OF_MEMORY : ERROR_BROKER_DOWN;
    }
    history->request = request;
    call_submit(&history->call);
    return ERROR_NONE;
}

/* Whether this node can answer alone. */
static bool history_is_here(const struct history_request *request, const struct topic *topic)
{
    const struct ring *ring = &topic->ring;
    if (topic->state == TOPIC_BRIDGED)
        return true;
    if (request->to < request->from)
        return topic->top >= request->from;
    return ring->count > 0 && ring_at(ring, 0)->offset <= request->from && topic->top >= request->to;
}

void history_begin(struct redis_broker *broker, struct history_request *request)
{
    struct topic *topic = topic_find(broker, request->name, request->name_len);
    enum error_code error;
    if (topic)
        topic_expire_ring(topic);
    if (!topic || !topic->has_log)
        error = ERROR_NO_CHANNEL;
    else if (history_is_here(request, topic))
        error = history_from_topic(request, topic);
    else if ((error = history_ask(broker, request)) == ERROR_NONE)
        return;
    broker_answer(&request->super, error);
}
