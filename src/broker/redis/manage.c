/* SPDX-License-Identifier: MIT */
#include "broker/redis/manage.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/redis/answer.h"
#include "broker/redis/call.h"
#include "broker/redis/topic.h"
#include "broker/redis/topic_log.h"

struct manage_call {
    struct call call;
    struct inspect_request *request;
};

void manage_inspect_bridged(struct inspect_request *request, struct topic *topic)
{
    topic_expire_ring(topic);
    request->epoch = topic->epoch;
    request->messages = topic->ring.count;
    request->bytes = topic->ring.bytes;
    request->oldest = topic->oldest;
    request->top = topic->top;
    request->last_published_ms = topic->last_published_ms;
}

/* With what the parsing of the answer has returned. */
static void manage_end(struct manage_call *manage, int err, const struct redisReply *reply)
{
    enum error_code error = err == 0         ? ERROR_NONE
                            : err == -ENOENT ? ERROR_NO_CHANNEL
                                             : call_error(&manage->call, reply);
    broker_answer(&manage->request->super, error);
    call_deinit(&manage->call);
    free(manage);
}

static void manage_inspected(struct call *call, const struct redisReply *reply)
{
    struct manage_call *manage = container_of(call, struct manage_call, call);
    struct inspect_request *request = manage->request;
    int err = reply ? answer_parse_inspection(request, reply, request->name, request->name_len) : -EBADMSG;
    manage_end(manage, err, reply);
}

static void manage_purged(struct call *call, const struct redisReply *reply)
{
    struct manage_call *manage = container_of(call, struct manage_call, call);
    int err = reply ? answer_parse_purge(&manage->request->messages, reply) : -EBADMSG;
    manage_end(manage, err, reply);
}

static void manage_ask(struct redis_broker *broker, struct inspect_request *request, const char *function,
                       void (*done)(struct call *call, const struct redisReply *reply))
{
    struct manage_call *manage = calloc(1, sizeof(*manage));
    int err = manage ? call_prepare(&manage->call, broker, function,
                                    (struct text){request->name, request->name_len}, (struct text){0}, NULL,
                                    0, done)
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
    if (!topic || topic->state != TOPIC_BRIDGED) {
        manage_ask(broker, request, "inspect", manage_inspected);
        return;
    }
    manage_inspect_bridged(request, topic);
    broker_answer(&request->super, ERROR_NONE);
}

void manage_purge(struct redis_broker *broker, struct inspect_request *request)
{
    struct topic *topic = topic_find(broker, request->name, request->name_len);
    if (!topic || topic->state != TOPIC_BRIDGED) {
        manage_ask(broker, request, "purge", manage_purged);
        return;
    }
    request->messages = topic->ring.count;
    topic_purge_bridged(topic);
    broker_answer(&request->super, ERROR_NONE);
}
