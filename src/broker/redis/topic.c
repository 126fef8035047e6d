/* SPDX-License-Identifier: MIT */
#include "broker/redis/topic.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/random.h"
#include "broker/redis/bridge.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/feed.h"
#include "broker/redis/limits.h"
#include "broker/redis/presence.h"
#include "broker/redis/server.h"
#include "broker/redis/topic_log.h"
#include "broker/redis/watch.h"
#include "config/options.h"

#define TOPIC_RETRY_MS 500u
/* Between two comparisons with Redis of a channel that is hardly remembered. */
#define TOPIC_CHECK_LEAST_MS 200u
/* "sluice:{FIRST}:p:NAME" */
#define TOPIC_FEED_MAX (2u * CHANNEL_NAME_MAX + 16u)

struct topic *topic_find(const struct redis_broker *broker, struct text name)
{
    struct topic *topic;
    HASH_FIND(hh, broker->topics, name.bytes, name.len, topic);
    return topic;
}

static void topic_check(struct timer *timer);
static const struct resident_ops topic_resident_ops;

static struct topic *topic_new(struct redis_broker *broker, struct text name)
{
    struct topic *topic = calloc(1, sizeof(*topic) + name.len + 1);
    if (!topic)
        return NULL;
    topic->broker = broker;
    topic->slot = call_slot(name.bytes, name.len);
    topic->name_len = (uint8_t)name.len;
    memcpy(topic->name, name.bytes, name.len);
    ring_init(&topic->ring);
    ring_init(&topic->early);
    ring_init(&topic->passing);
    timer_init(&topic->timer, topic_check);
    HASH_ADD_KEYPTR(hh, broker->topics, topic->name, name.len, topic);
    if (!topic->hh.tbl) {
        free(topic);
        return NULL;
    }
    resident_init(&topic->resident, &topic_resident_ops, broker);
    broker_count(&broker->super, METRIC_CHANNELS, 1);
    return topic;
}

static void topic_move(struct topic *topic, enum topic_state to)
{
    static const unsigned legal[] = {
        [TOPIC_IDLE] = 1u << TOPIC_IDLE | 1u << TOPIC_SUBSCRIBING | 1u << TOPIC_BRIDGED,
        [TOPIC_SUBSCRIBING] = 1u << TOPIC_IDLE | 1u << TOPIC_OPENING | 1u << TOPIC_LEAVING,
        [TOPIC_OPENING] = 1u << TOPIC_IDLE | 1u << TOPIC_LIVE | 1u << TOPIC_LEAVING,
        [TOPIC_LIVE] = 1u << TOPIC_IDLE | 1u << TOPIC_LIVE | 1u << TOPIC_LEAVING,
        [TOPIC_LEAVING] = 1u << TOPIC_IDLE,
        [TOPIC_BRIDGED] = 0,
    };
    struct redis_broker *broker = topic->broker;
    assert(legal[topic->state] & 1u << to);
    if (to == TOPIC_SUBSCRIBING) {
        resident_move(&topic->resident, broker->slots[topic->slot]);
        broker_count(&broker->super, METRIC_BROKER_SUBSCRIPTIONS, 1);
    } else if (to == TOPIC_IDLE && topic->state != TOPIC_IDLE) {
        resident_move(&topic->resident, NULL);
        broker_count(&broker->super, METRIC_BROKER_SUBSCRIPTIONS, -1);
    }
    if (to == TOPIC_IDLE || to == TOPIC_LEAVING)
        topic_stop_opening(topic);
    topic->state = to;
}

static void topic_free(struct topic *topic)
{
    struct redis_broker *broker = topic->broker;
    if (topic->state != TOPIC_BRIDGED)
        topic_move(topic, TOPIC_IDLE);
    topic_drop_ring(topic);
    timer_stop(&broker->wheel, &topic->timer);
    resident_deinit(&topic->resident);
    HASH_DEL(broker->topics, topic);
    broker_count(&broker->super, METRIC_CHANNELS, -1);
    free(topic->attachments.items);
    free(topic);
}

static void topic_arm(struct topic *topic, uint64_t after_ms)
{
    timer_arm(&topic->broker->wheel, &topic->timer, topic->broker->now_ms + after_ms);
}

/* Spread out, so that ten thousand channels are not compared in one go; and often enough that the log of a
 * channel that is followed does not end between, because whoever compares it uses it. */
static void topic_arm_check(struct topic *topic)
{
    const struct options *options = topic->broker->options;
    uint64_t check_ms = number_greater(limits_life_ms(options, topic_name(topic)) / 2, TOPIC_CHECK_LEAST_MS);
    if (check_ms > options->redis_check_time_ms)
        check_ms = options->redis_check_time_ms;
    topic_arm(topic, check_ms / 2 + random_below(check_ms / 2 + 1));
}

/* Attaching. */

static enum error_code topic_answer_attach(struct topic *topic, struct attach_request *request)
{
    topic_expire_ring(topic);
    const struct ring *ring = &topic->ring;
    size_t skip = ring->count > request->tail_count ? ring->count - (size_t)request->tail_count : 0;
    if (ring_copy(&request->tail, ring, skip, ring->count, topic->broker->now_ms))
        return ERROR_OUT_OF_MEMORY;
    if (attachments_add(&topic->attachments, request)) {
        ring_deinit(&request->tail);
        return ERROR_OUT_OF_MEMORY;
    }
    request->log = topic->log;
    request->ahead_ms = topic->ahead_ms;
    return ERROR_NONE;
}

/* Answers all that wait, in the order in which they came. */
static void topic_answer_waiting(struct topic *topic, enum error_code error)
{
    struct letter *letter = topic->waiting;
    topic->waiting = NULL;
    while (letter) {
        struct broker_request *request = container_of(letter, struct broker_request, letter);
        struct letter *next = letter->next;
        broker_answer(request,
                      error != ERROR_NONE
                          ? error
                          : topic_answer_attach(topic, container_of(request, struct attach_request, super)));
        letter = next;
    }
}

static void topic_add_waiting(struct topic *topic, struct attach_request *request)
{
    struct letter **end = &topic->waiting;
    while (*end)
        end = &(*end)->next;
    request->super.letter.next = NULL;
    *end = &request->super.letter;
}

static bool topic_is_wanted(const struct topic *topic)
{
    return topic->waiting || topic->attachments.count > 0;
}

static void topic_say(const struct topic *topic, struct redis_server *server,
                      void (*say)(struct redis_server *server, const char *channel))
{
    char channel[TOPIC_FEED_MAX];
    int first = (int)strcspn(topic->name, "/");
    snprintf(channel, sizeof(channel), "sluice:{%.*s}:p:%s", first, topic->name, topic->name);
    say(server, channel);
}

static void topic_subscribe(struct topic *topic)
{
    struct redis_server *server = call_find_server(topic->broker, topic->slot);
    if (!server)
        return;
    topic_move(topic, TOPIC_SUBSCRIBING);
    topic_say(topic, server, feed_subscribe);
}

static void topic_leave(struct topic *topic)
{
    if (topic->state == TOPIC_LEAVING)
        return;
    topic->has_log = false;
    topic_drop_ring(topic);
    timer_stop(&topic->broker->wheel, &topic->timer);
    if (!topic->resident.server) {
        topic_free(topic);
        return;
    }
    topic_move(topic, TOPIC_LEAVING);
    topic_say(topic, topic->resident.server, feed_unsubscribe);
}

/* Of those that are in use here; how many there are in Redis is its own affair. */
static bool topic_is_one_too_many(struct redis_broker *broker)
{
    uint64_t most = broker->options->max_channels;
    if (most == 0 || HASH_COUNT(broker->topics) < most)
        return false;
    broker_count(&broker->super, METRIC_CHANNELS_REFUSED, 1);
    return true;
}

void topic_attach(struct redis_broker *broker, struct attach_request *request)
{
    struct topic *topic = topic_find(broker, request->name);
    bool is_one_too_many = false;
    if (!topic && bridge_matches(broker, request->name))
        topic = topic_get_bridged(broker, request->name);
    else if (!topic && !(is_one_too_many = topic_is_one_too_many(broker)))
        topic = topic_new(broker, request->name);
    if (!topic) {
        broker_answer(&request->super, is_one_too_many ? ERROR_CHANNEL_LIMIT : ERROR_OUT_OF_MEMORY);
        return;
    }
    presence_follow(broker, request->name);
    /* Also while Redis is away: what this node has is served. */
    if (topic->has_log) {
        broker_answer(&request->super, topic_answer_attach(topic, request));
        return;
    }
    if (topic->state == TOPIC_IDLE)
        topic_subscribe(topic);
    topic_add_waiting(topic, request);
    if (topic->state == TOPIC_IDLE) {
        topic_answer_waiting(topic, ERROR_BROKER_DOWN);
        topic_free(topic);
    }
}

void topic_detach(struct redis_broker *broker, struct attach_request *request)
{
    struct topic *topic = topic_find(broker, request->name);
    if (topic)
        attachments_remove(&topic->attachments, request);
    broker_answer(&request->super, ERROR_NONE);
    /* What a bridged channel keeps is nowhere else: it goes with its last message (topic_check). */
    if (topic && topic->state != TOPIC_BRIDGED && !topic_is_wanted(topic))
        topic_leave(topic);
}

/* Subscribing. */

void topic_subscribed(struct topic *topic)
{
    if (topic->state != TOPIC_SUBSCRIBING)
        return;
    topic_move(topic, TOPIC_OPENING);
    topic_open(topic);
}

/* Either as asked, or because the slot has moved. */
void topic_unsubscribed(struct topic *topic)
{
    topic_move(topic, TOPIC_IDLE);
    if (!topic_is_wanted(topic)) {
        topic_free(topic);
        return;
    }
    topic_subscribe(topic);
    if (topic->state == TOPIC_IDLE && topic->waiting)
        topic_answer_waiting(topic, ERROR_BROKER_DOWN);
    if (topic->state == TOPIC_IDLE && !topic_is_wanted(topic))
        topic_free(topic);
}

void topic_opened(struct topic *topic)
{
    topic_move(topic, TOPIC_LIVE);
    if (topic->is_gap)
        broker_count(&topic->broker->super, METRIC_BROKER_GAPS_FILLED, 1);
    topic->is_gap = false;
    topic_answer_waiting(topic, ERROR_NONE);
    topic_tell_passing(topic);
    topic_arm_check(topic);
}

void topic_open_failed(struct topic *topic, enum error_code error)
{
    topic_answer_waiting(topic, error);
    topic_arm(topic, TOPIC_RETRY_MS);
}

/* A message that was lost on the way, and was the last, is found by nobody but this. */
static void topic_check(struct timer *timer)
{
    struct topic *topic = container_of(timer, struct topic, timer);
    topic_expire_ring(topic);
    if (topic->state == TOPIC_BRIDGED && topic->ring.count == 0 && topic->attachments.count == 0)
        topic_free(topic);
    else if (topic->state == TOPIC_BRIDGED)
        topic_arm_check(topic);
    else if (!topic_is_wanted(topic))
        topic_leave(topic);
    else if (topic->state == TOPIC_LIVE || topic->state == TOPIC_OPENING)
        topic_open(topic);
}

/* Servers come and go. */

static struct topic *topic_of(struct resident *resident)
{
    return container_of(resident, struct topic, resident);
}

static void topic_server_lost(struct resident *resident)
{
    struct topic *topic = topic_of(resident);
    topic_move(topic, TOPIC_IDLE);
    topic_answer_waiting(topic, ERROR_BROKER_DOWN);
    if (!topic_is_wanted(topic))
        topic_free(topic);
}

/* Where the old owner is still there, its word that it has dropped the subscription may have been lost on the
 * way. A sharded subscription that it has not confirmed yet is refused, or ends with the slot. */
static void topic_slots_changed(struct resident *resident)
{
    struct topic *topic = topic_of(resident);
    struct redis_server *server = resident->server;
    struct redis_server *owner = topic->broker->slots[topic->slot];
    bool is_refused = topic->state == TOPIC_SUBSCRIBING && server->has_sharded;
    if (topic->state == TOPIC_BRIDGED || !owner || owner == server)
        return;
    if (server && topic->state != TOPIC_LEAVING && !is_refused)
        topic_say(topic, server, feed_unsubscribe);
    topic_unsubscribed(topic);
}

static void topic_ended(struct resident *resident)
{
    topic_answer_waiting(topic_of(resident), ERROR_STOPPING);
    topic_free(topic_of(resident));
}

static const struct resident_ops topic_resident_ops = {
    .lost = topic_server_lost,
    .slots_changed = topic_slots_changed,
    .ended = topic_ended,
};

/* Bridged channels are live at once, and independent of any server. */
struct topic *topic_get_bridged(struct redis_broker *broker, struct text name)
{
    struct topic *topic = topic_find(broker, name);
    if (topic)
        return topic->state == TOPIC_BRIDGED ? topic : NULL;
    topic = topic_new(broker, name);
    if (!topic)
        return NULL;
    topic->ahead_ms = ATTACH_AT_ONCE;
    topic->has_log = true;
    topic_move(topic, TOPIC_BRIDGED);
    topic->log.epoch = epoch_new(name.bytes, name.len);
    topic->log.oldest = 1;
    topic_arm_check(topic);
    watch_announce(broker, name.bytes, name.len);
    return topic;
}
