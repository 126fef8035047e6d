/* SPDX-License-Identifier: MIT */
#include "broker/redis/manage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/call.h"
#include "broker/redis/inspection.h"
#include "broker/redis/topic_log.h"

struct manage_call {
    struct call call;
    struct inspect_request *request;
};

int inspection_parse(struct inspect_request *request, const struct redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 5 ||
        reply->element[0]->type != REDIS_REPLY_STRING || reply->element[0]->len != EPOCH_LEN ||
        epoch_parse(&request->epoch, reply->element[0]->str))
        return -EINVAL;
    for (unsigned i = 1; i < 5; i++)
        if (reply->element[i]->type != REDIS_REPLY_INTEGER || reply->element[i]->integer < 0)
            return -EINVAL;
    request->top = (uint64_t)reply->element[1]->integer;
    request->oldest = (uint64_t)reply->element[2]->integer;
    request->messages = request->top + 1 - request->oldest;
    request->bytes = (uint64_t)reply->element[3]->integer;
    request->last_published_ms = reply->element[4]->integer;
    return 0;
}

void inspection_of_topic(struct inspect_request *request, struct topic *topic)
{
    topic_expire_ring(topic);
    request->epoch = topic->epoch;
    request->messages = topic->ring.count;
    request->bytes = topic->ring.bytes;
    request->oldest = topic->oldest;
    request->top = topic->top;
    request->last_published_ms = topic->last_published_ms;
}

/* Also of an answer that is no error: nil says that there is no such channel. */
static enum error_code manage_error(const struct call *call, const struct redisReply *reply)
{
    return !reply || reply->type == REDIS_REPLY_ERROR ? call_error(call, reply) : ERROR_NO_CHANNEL;
}

static void manage_end(struct manage_call *manage, enum error_code error)
{
    broker_answer(&manage->request->super, error);
    call_deinit(&manage->call);
    free(manage);
}

static void manage_inspected(struct call *call, const struct redisReply *reply)
{
    struct manage_call *manage = container_of(call, struct manage_call, call);
    if (reply && inspection_parse(manage->request, reply) == 0)
        manage_end(manage, ERROR_NONE);
    else
        manage_end(manage, manage_error(call, reply));
}

static void manage_purged(struct call *call, const struct redisReply *reply)
{
    struct manage_call *manage = container_of(call, struct manage_call, call);
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
        reply->element[0]->type == REDIS_REPLY_INTEGER) {
        manage->request->messages = (uint64_t)reply->element[0]->integer;
        manage_end(manage, ERROR_NONE);
    } else {
        manage_end(manage, manage_error(call, reply));
    }
}

static void manage_ask(struct redis_broker *broker, struct inspect_request *request, const char *function,
                       void (*done)(struct call *call, const struct redisReply *reply))
{
    struct manage_call *manage = calloc(1, sizeof(*manage));
    int err = manage ? call_prepare(&manage->call, broker, function, request->name, request->name_len, NULL,
                                    0, NULL, 0, done)
                     : -ENOMEM;
    if (err) {
        free(manage);
        broker_answer(&request->super, err == -ENOMEM ? ERROR_OUT_OF_MEMORY : ERROR_BROKER_DOWN);
        return;
    }
    manage->request = request;
    call_submit(&manage->call);
}

void manage_inspect(struct redis_broker *broker, struct inspect_request *request)
{
    struct topic *topic = topic_find(broker, request->name, request->name_len);
    if (!topic || !topic->is_bridged) {
        manage_ask(broker, request, "inspect", manage_inspected);
        return;
    }
    inspection_of_topic(request, topic);
    broker_answer(&request->super, ERROR_NONE);
}

void manage_purge(struct redis_broker *broker, struct inspect_request *request)
{
    struct topic *topic = topic_find(broker, request->name, request->name_len);
    if (!topic || !topic->is_bridged) {
        manage_ask(broker, request, "purge", manage_purged);
        return;
    }
    request->messages = topic->ring.count;
    topic_purge_bridged(topic);
    broker_answer(&request->super, ERROR_NONE);
}
