/* SPDX-License-Identifier: MIT */
#include "broker/redis/revocations.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/feed.h"
#include "broker/redis/resident.h"
#include "broker/redis/server.h"

/* The slot of the stream and of the Pub/Sub channel; no first segment that is used for channels. */
static const struct text revocations_slot_name = {"$tokens", 7};

#define REVOCATIONS_PAGE 1000u
#define REVOCATIONS_RETRY_MS 500u

/*   idle --subscribe--> subscribing --confirmed--> reading --all pages--> live
 *    ^--------------------------- the server is lost ------------------------'
 */
enum revocations_state { REVOCATIONS_IDLE, REVOCATIONS_SUBSCRIBING, REVOCATIONS_READING, REVOCATIONS_LIVE };

struct revocations {
    struct redis_broker *broker;
    enum revocations_state state;
    struct resident resident; /* of the server where it is subscribed; homeless when idle */
    struct revocation_listeners listeners;
    struct call call; /* a page; its own while is_asking */
    bool is_asking;
    bool must_read_again; /* somebody has begun to listen meanwhile, or was not told */
    struct timer retry;   /* while reading */
    uint64_t at;          /* how many there are before those of the page */
};

static void revocations_move(struct revocations *revocations, enum revocations_state to)
{
    static const unsigned legal[] = {
        [REVOCATIONS_IDLE] = 1u << REVOCATIONS_IDLE | 1u << REVOCATIONS_SUBSCRIBING,
        [REVOCATIONS_SUBSCRIBING] = 1u << REVOCATIONS_IDLE | 1u << REVOCATIONS_READING,
        [REVOCATIONS_READING] = 1u << REVOCATIONS_IDLE | 1u << REVOCATIONS_LIVE,
        [REVOCATIONS_LIVE] = 1u << REVOCATIONS_IDLE | 1u << REVOCATIONS_READING,
    };
    assert(legal[revocations->state] & 1u << to);
    revocations->state = to;
    if (to == REVOCATIONS_IDLE) {
        timer_stop(&revocations->broker->wheel, &revocations->retry);
        resident_move(&revocations->resident, NULL);
    }
}

/* Telling. What could not be told for want of memory is read again. */

static void revocations_retry_later(struct revocations *revocations)
{
    timer_arm(&revocations->broker->wheel, &revocations->retry,
              revocations->broker->now_ms + REVOCATIONS_RETRY_MS);
}

static bool revocations_tell(struct revocations *revocations, struct text form)
{
    struct revocation revocation;
    return revocation_parse(&revocation, form) ||
           revocation_listeners_tell(&revocations->listeners, &revocation) == 0;
}

/* Reading. */

static void revocations_page_answered(struct call *call, const struct redisReply *reply);

static void revocations_ask_page(struct revocations *revocations)
{
    char at[21];
    char count[21];
    const struct text arguments[] = {call_number(at, revocations->at), call_number(count, REVOCATIONS_PAGE)};
    if (call_prepare(&revocations->call, revocations->broker, "revoked", revocations_slot_name, NULL,
                     arguments, ARRAY_LENGTH(arguments), revocations_page_answered)) {
        revocations_retry_later(revocations);
        return;
    }
    revocations->is_asking = true;
    call_submit(&revocations->call);
}

static void revocations_read(struct revocations *revocations)
{
    if (revocations->state != REVOCATIONS_READING)
        revocations_move(revocations, REVOCATIONS_READING);
    revocations->must_read_again = revocations->is_asking;
    if (revocations->is_asking)
        return;
    revocations->at = 0;
    revocations_ask_page(revocations);
}

static void revocations_retry(struct timer *timer)
{
    revocations_read(container_of(timer, struct revocations, retry));
}

/* Forms; what is of another one, somebody else has written. Those that are kept longest come first: what is
 * added or forgotten meanwhile moves nothing from behind the page to before it. Returns 0 when the page was
 * the last one, -EAGAIN when there are more, -ENOMEM. */
static int revocations_take_page(struct revocations *revocations, const struct redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++) {
        const struct redisReply *form = reply->element[i];
        if (form->type == REDIS_REPLY_STRING &&
            !revocations_tell(revocations, (struct text){form->str, form->len}))
            return -ENOMEM;
    }
    revocations->at += reply->elements;
    return reply->elements < REVOCATIONS_PAGE ? 0 : -EAGAIN;
}

static void revocations_page_answered(struct call *call, const struct redisReply *reply)
{
    struct revocations *revocations = container_of(call, struct revocations, call);
    int err = -EIO;
    revocations->is_asking = false;
    if (revocations->state == REVOCATIONS_READING && reply && reply->type == REDIS_REPLY_ARRAY)
        err = revocations_take_page(revocations, reply);
    else if (revocations->state == REVOCATIONS_READING && reply)
        (void)call_error(call, reply); /* told to the operator; tried again all the same */
    call_deinit(call);
    if (revocations->state != REVOCATIONS_READING)
        return;
    if (err == -EAGAIN)
        revocations_ask_page(revocations);
    else if (err)
        revocations_retry_later(revocations);
    else if (revocations->must_read_again)
        revocations_read(revocations);
    else {
        revocations_move(revocations, REVOCATIONS_LIVE);
        revocation_listeners_complete(&revocations->listeners);
    }
}

/* Subscribing. */

static struct revocations *revocations_of(struct resident *resident)
{
    return container_of(resident, struct revocations, resident);
}

static void revocations_slots_changed(struct resident *resident)
{
    struct revocations *revocations = revocations_of(resident);
    struct redis_broker *broker = revocations->broker;
    uint16_t slot = call_slot(revocations_slot_name.bytes, revocations_slot_name.len);
    if (resident->server && broker->slots[slot] == resident->server)
        return;
    revocations_move(revocations, REVOCATIONS_IDLE);
    struct redis_server *server = call_find_server(broker, slot);
    if (!server)
        return;
    revocations_move(revocations, REVOCATIONS_SUBSCRIBING);
    resident_move(resident, server);
    feed_subscribe(server, REVOCATIONS_CHANNEL);
}

static void revocations_server_lost(struct resident *resident)
{
    revocations_move(revocations_of(resident), REVOCATIONS_IDLE);
}

static void revocations_ended(struct resident *resident)
{
    revocations_move(revocations_of(resident), REVOCATIONS_IDLE);
    resident_deinit(resident);
}

static const struct resident_ops revocations_resident_ops = {
    .lost = revocations_server_lost,
    .slots_changed = revocations_slots_changed,
    .ended = revocations_ended,
};

void revocations_subscribed(struct redis_server *server)
{
    struct revocations *revocations = server->broker->revocations;
    if (revocations->resident.server == server && revocations->state == REVOCATIONS_SUBSCRIBING)
        revocations_read(revocations);
}

void revocations_receive(struct redis_broker *broker, struct text form)
{
    struct revocations *revocations = broker->revocations;
    if (!revocations_tell(revocations, form) && revocations->state >= REVOCATIONS_READING)
        revocations_retry_later(revocations);
}

/* Requests. */

void revocations_listen(struct redis_broker *broker, struct listen_request *request)
{
    struct revocations *revocations = broker->revocations;
    int err = revocation_listeners_add(&revocations->listeners, request->super.reply_to, request->listener);
    broker_answer(&request->super, err ? ERROR_OUT_OF_MEMORY : ERROR_NONE);
    if (revocations->state >= REVOCATIONS_READING)
        revocations_read(revocations);
}

struct revocation_call {
    struct call call;
    struct revoke_request *request;
};

/* This node is told here, so that whoever has the answer is refused from then on; its own feed may come
 * later. */
static void revocations_revoked(struct call *call, const struct redisReply *reply)
{
    struct revocation_call *asked = container_of(call, struct revocation_call, call);
    struct revoke_request *request = asked->request;
    const struct revocations *revocations = call->broker->revocations;
    enum error_code error = ERROR_NONE;
    if (!reply || reply->type != REDIS_REPLY_INTEGER)
        error = call_error(call, reply);
    else if (reply->integer == 0)
        error = ERROR_TOO_MANY_REVOKED;
    else if (revocation_listeners_tell(&revocations->listeners, &request->revocation))
        error = ERROR_OUT_OF_MEMORY;
    call_deinit(call);
    free(asked);
    broker_answer(&request->super, error);
}

void revocations_revoke(struct redis_broker *broker, struct revoke_request *request)
{
    char form[REVOCATION_FORM_MAX];
    const struct text argument = {form, revocation_format(form, &request->revocation)};
    struct revocation_call *asked = calloc(1, sizeof(*asked));
    enum error_code error = asked ? call_prepare(&asked->call, broker, "revoke", revocations_slot_name, NULL,
                                                 &argument, 1, revocations_revoked)
                                  : ERROR_OUT_OF_MEMORY;
    if (error != ERROR_NONE) {
        free(asked);
        broker_answer(&request->super, error);
        return;
    }
    asked->request = request;
    call_submit(&asked->call);
}

int revocations_init(struct redis_broker *broker)
{
    struct revocations *revocations = calloc(1, sizeof(*revocations));
    if (!revocations)
        return -ENOMEM;
    revocations->broker = broker;
    broker->revocations = revocations;
    timer_init(&revocations->retry, revocations_retry);
    resident_init(&revocations->resident, &revocations_resident_ops, broker);
    return 0;
}

void revocations_deinit(struct redis_broker *broker)
{
    if (broker->revocations)
        revocation_listeners_deinit(&broker->revocations->listeners);
    free(broker->revocations);
    broker->revocations = NULL;
}
