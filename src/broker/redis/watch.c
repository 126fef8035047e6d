/* SPDX-License-Identifier: MIT */
#include "broker/redis/watch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/feed.h"
#include "broker/redis/resident.h"
#include "broker/redis/scan.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"

/* "sluice:{FIRST}:n" */
#define WATCH_CHANNEL_MAX (CHANNEL_NAME_MAX + 16u)

#define WATCH_RETRY_MS 500u

enum watch_state { WATCH_IDLE, WATCH_SUBSCRIBING, WATCH_SCANNING, WATCH_LIVE };

struct redis_watch {
    struct list link; /* in broker.watches */
    struct redis_broker *broker;
    enum watch_state state;
    struct resident resident; /* of the server where it is subscribed; homeless when idle */
    struct mailbox *mailbox;
    struct watcher *watcher;
    struct watch_request *request; /* not answered yet */
    struct watch_scan *scan;       /* under way */
    struct timer retry;            /* while scanning: after a scan that failed */
    uint16_t slot;
    size_t prefix_len;
    char channel[WATCH_CHANNEL_MAX];
    char prefix[]; /* terminated */
};

struct watch_scan {
    struct scan super;
    struct redis_watch *watch; /* may be gone when it is not wanted any more */
};

static bool watch_is_below(const struct redis_watch *watch, const char *name, size_t len)
{
    return len > watch->prefix_len && memcmp(name, watch->prefix, watch->prefix_len) == 0;
}

/* Known from the start are those that the first scan finds. */
static void watch_tell(const struct redis_watch *watch, const char *name, size_t len, bool is_new)
{
    if (watch_is_below(watch, name, len))
        /* Without memory for the letter it is told with the next scan. */
        (void)broker_tell_name(watch->mailbox, watch->watcher, name, len, is_new);
}

static void watch_answer(struct redis_watch *watch, enum error_code error)
{
    if (watch->request)
        broker_answer(&watch->request->super, error);
    watch->request = NULL;
}

static void watch_move(struct redis_watch *watch, enum watch_state to)
{
    static const unsigned legal[] = {
        [WATCH_IDLE] = 1u << WATCH_IDLE | 1u << WATCH_SUBSCRIBING,
        [WATCH_SUBSCRIBING] = 1u << WATCH_IDLE | 1u << WATCH_SCANNING,
        [WATCH_SCANNING] = 1u << WATCH_IDLE | 1u << WATCH_SCANNING | 1u << WATCH_LIVE,
        [WATCH_LIVE] = 1u << WATCH_IDLE,
    };
    assert(legal[watch->state] & 1u << to);
    watch->state = to;
    if (to == WATCH_IDLE) {
        if (watch->scan)
            watch->scan->super.is_wanted = false;
        watch->scan = NULL;
        timer_stop(&watch->broker->wheel, &watch->retry);
        resident_move(&watch->resident, NULL);
    } else if (to == WATCH_SUBSCRIBING) {
        resident_move(&watch->resident, watch->broker->slots[watch->slot]);
    }
}

static void watch_free(struct redis_watch *watch)
{
    watch_move(watch, WATCH_IDLE);
    resident_deinit(&watch->resident);
    list_remove(&watch->link);
    free(watch);
}

/* Scanning. */

/* Who was refused is not told of anything later. For the others it is scanned until it succeeds: channels
 * that were begun while nothing was subscribed are found by nothing else. */
static void watch_finish(struct redis_watch *watch, enum error_code error)
{
    watch->scan = NULL;
    if (error == ERROR_NONE) {
        watch_move(watch, WATCH_LIVE);
        watch_answer(watch, error);
    } else if (watch->request) {
        watch_answer(watch, error);
        watch_free(watch);
    } else {
        timer_arm(&watch->broker->wheel, &watch->retry, watch->broker->now_ms + WATCH_RETRY_MS);
    }
}

static void watch_scan_found(struct scan *super, const char *name, size_t len)
{
    const struct redis_watch *watch = container_of(super, struct watch_scan, super)->watch;
    watch_tell(watch, name, len, !watch->request);
}

static void watch_scan_ended(struct scan *super, enum error_code error)
{
    struct watch_scan *scan = container_of(super, struct watch_scan, super);
    struct redis_watch *watch = super->is_wanted ? scan->watch : NULL;
    free(scan);
    if (watch)
        watch_finish(watch, error);
}

static void watch_scan_begin(struct redis_watch *watch)
{
    struct watch_scan *scan = calloc(1, sizeof(*scan));
    watch_move(watch, WATCH_SCANNING);
    if (!scan) {
        watch_finish(watch, ERROR_OUT_OF_MEMORY);
        return;
    }
    *scan =
        (struct watch_scan){.super = {.found = watch_scan_found, .ended = watch_scan_ended}, .watch = watch};
    watch->scan = scan;
    scan_begin(&scan->super, watch->resident.server);
}

static void watch_scan_again(struct timer *timer)
{
    watch_scan_begin(container_of(timer, struct redis_watch, retry));
}

/* Subscribing. */

bool watch_is_news(const char *channel, size_t len)
{
    return len > 11 && memcmp(channel, "sluice:{", 8) == 0 && memcmp(channel + len - 3, "}:n", 3) == 0;
}

static void watch_subscribe(struct redis_watch *watch)
{
    struct redis_server *server = call_find_server(watch->broker, watch->slot);
    if (!server)
        return;
    watch_move(watch, WATCH_SUBSCRIBING);
    feed_subscribe(server, watch->channel);
}

void watch_subscribed(struct redis_server *server, const char *channel, size_t len)
{
    list_for_each_safe (link, &server->broker->watches) {
        struct redis_watch *watch = container_of(link, struct redis_watch, link);
        if (watch->resident.server == server && watch->state == WATCH_SUBSCRIBING &&
            strlen(watch->channel) == len && memcmp(watch->channel, channel, len) == 0)
            watch_scan_begin(watch);
    }
}

void watch_announce(struct redis_broker *broker, const char *name, size_t len)
{
    if (!channel_name_is_valid(name, len))
        return;
    list_for_each (link, &broker->watches)
        watch_tell(container_of(link, struct redis_watch, link), name, len, true);
}

static struct redis_watch *watch_of(struct resident *resident)
{
    return container_of(resident, struct redis_watch, resident);
}

static void watch_server_lost(struct resident *resident)
{
    struct redis_watch *watch = watch_of(resident);
    watch_move(watch, WATCH_IDLE);
    if (!watch->request)
        return;
    watch_answer(watch, ERROR_BROKER_DOWN);
    watch_free(watch);
}

static void watch_slots_changed(struct resident *resident)
{
    struct redis_watch *watch = watch_of(resident);
    if (watch->broker->slots[watch->slot] == resident->server)
        return;
    watch_move(watch, WATCH_IDLE);
    watch_subscribe(watch);
}

static void watch_ended(struct resident *resident)
{
    watch_answer(watch_of(resident), ERROR_STOPPING);
    watch_free(watch_of(resident));
}

static const struct resident_ops watch_resident_ops = {
    .lost = watch_server_lost,
    .slots_changed = watch_slots_changed,
    .ended = watch_ended,
};

/* Requests. */

static void watch_tell_bridged(const struct redis_watch *watch)
{
    struct topic *topic;
    struct topic *next;
    HASH_ITER (hh, watch->broker->topics, topic, next) {
        if (topic->state == TOPIC_BRIDGED)
            watch_tell(watch, topic->name, topic->name_len, false);
    }
}

void watch_begin(struct redis_broker *broker, struct watch_request *request)
{
    struct redis_watch *watch = calloc(1, sizeof(*watch) + request->prefix_len + 1);
    if (!watch) {
        broker_answer(&request->super, ERROR_OUT_OF_MEMORY);
        return;
    }
    watch->broker = broker;
    watch->mailbox = request->super.reply_to;
    watch->watcher = request->watcher;
    watch->request = request;
    watch->slot = call_slot(request->prefix, request->prefix_len);
    watch->prefix_len = request->prefix_len;
    memcpy(watch->prefix, request->prefix, request->prefix_len);
    snprintf(watch->channel, sizeof(watch->channel), "sluice:{%.*s}:n", (int)strcspn(watch->prefix, "/"),
             watch->prefix);
    timer_init(&watch->retry, watch_scan_again);
    resident_init(&watch->resident, &watch_resident_ops, broker);
    list_init(&watch->link);
    list_append(&broker->watches, &watch->link);
    watch_tell_bridged(watch);
    watch_subscribe(watch);
    if (watch->state != WATCH_IDLE)
        return;
    watch_answer(watch, ERROR_BROKER_DOWN);
    watch_free(watch);
}

static bool watch_is_shared(const struct redis_watch *watch)
{
    list_for_each (link, &watch->broker->watches) {
        const struct redis_watch *other = container_of(link, const struct redis_watch, link);
        if (other != watch && strcmp(other->channel, watch->channel) == 0)
            return true;
    }
    return false;
}

void watch_end(struct redis_broker *broker, struct watch_request *request)
{
    list_for_each_safe (link, &broker->watches) {
        struct redis_watch *watch = container_of(link, struct redis_watch, link);
        if (watch->watcher != request->watcher)
            continue;
        if (watch->resident.server && !watch_is_shared(watch))
            feed_unsubscribe(watch->resident.server, watch->channel);
        watch_free(watch);
    }
    broker_answer(&request->super, ERROR_NONE);
}
