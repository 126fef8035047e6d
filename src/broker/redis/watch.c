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
    struct racked racked; /* in broker.watches */
    struct racked news;   /* in broker.news */
    struct redis_broker *broker;
    enum watch_state state;
    struct resident resident; /* of the server where it is subscribed; homeless when idle */
    struct mailbox *mailbox;
    struct watcher *watcher;
    struct watch_request *request; /* not answered yet */
    struct watch_request *known;   /* lives until it is unwatched, answered or not */
    struct list scan_link;         /* in scan.members or .next */
    struct watch_scan *scan;       /* under way, or waiting for its turn; NULL when there is none */
    bool is_scanned;               /* by the scan that is under way */
    struct timer retry;            /* while scanning: after a scan that failed */
    uint16_t slot;
    size_t prefix_len;
    char channel[WATCH_CHANNEL_MAX];
    char prefix[]; /* terminated */
};

/* One at a time for each server, for all who want one: what is in Redis is gone through no more often however
 * many watch. */
struct watch_scan {
    struct scan super;
    struct list link; /* in broker.watch_scans */
    struct redis_server *server;
    bool is_under_way;
    struct list members; /* watches that are told of what it finds */
    struct list next;    /* those that came when it was under way: the next one is theirs */
};

/* Known from the start are those that the first scan finds. */
static void watch_tell(const struct redis_watch *watch, const char *name, size_t len, bool is_new)
{
    /* Without memory for the letter it is told with the next scan. */
    (void)broker_tell_name(watch->mailbox, watch->watcher, name, len, is_new);
}

static void watch_answer(struct redis_watch *watch, enum error_code error)
{
    if (watch->request)
        broker_answer(&watch->request->super, error);
    watch->request = NULL;
}

static void watch_leave_scan(struct redis_watch *watch)
{
    struct watch_scan *scan = watch->scan;
    list_remove(&watch->scan_link);
    watch->scan = NULL;
    if (scan)
        scan->super.is_wanted = !list_is_empty(&scan->members);
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
        watch_leave_scan(watch);
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
    racks_take(&watch->broker->watches, &watch->racked);
    racks_take(&watch->broker->news, &watch->news);
    free(watch);
}

/* Scanning. */

/* Who was refused is not told of anything later. For the others it is scanned until it succeeds: channels
 * that were begun while nothing was subscribed are found by nothing else. */
static void watch_finish(struct redis_watch *watch, enum error_code error)
{
    watch_leave_scan(watch);
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
    const struct watch_scan *scan = container_of(super, struct watch_scan, super);
    const struct racks *watches = &scan->server->broker->watches;
    const struct rack *rack;
    size_t at = 0;
    while ((rack = racks_find_above(watches, (struct text){name, len}, &at)))
        list_for_each (link, &rack->things) {
            const struct redis_watch *watch = container_of(link, struct redis_watch, racked.link);
            if (watch->scan == scan && watch->is_scanned)
                watch_tell(watch, name, len, !watch->request);
        }
}

static void watch_scan_begin(struct watch_scan *scan)
{
    list_for_each (link, &scan->members)
        container_of(link, struct redis_watch, scan_link)->is_scanned = true;
    scan->is_under_way = true;
    scan_begin(&scan->super, scan->server);
}

/* Of those that wait for the next scan, too, where this one has failed. */
static void watch_scan_ended(struct scan *super, enum error_code error)
{
    struct watch_scan *scan = container_of(super, struct watch_scan, super);
    struct list finished;
    list_init(&finished);
    list_splice(&finished, &scan->members);
    list_splice(error == ERROR_NONE ? &scan->members : &finished, &scan->next);
    list_for_each (link, &finished)
        container_of(link, struct redis_watch, scan_link)->scan = NULL;
    bool has_more = !list_is_empty(&scan->members);
    if (!has_more) {
        list_remove(&scan->link);
        free(scan);
    }
    list_drain (link, &finished)
        watch_finish(container_of(link, struct redis_watch, scan_link), error);
    if (has_more)
        watch_scan_begin(scan);
}

static struct watch_scan *watch_scan_find(struct redis_broker *broker, struct redis_server *server)
{
    list_for_each (link, &broker->watch_scans) {
        struct watch_scan *scan = container_of(link, struct watch_scan, link);
        if (scan->server == server)
            return scan;
    }
    struct watch_scan *scan = calloc(1, sizeof(*scan));
    if (!scan)
        return NULL;
    scan->super.found = watch_scan_found;
    scan->super.ended = watch_scan_ended;
    scan->server = server;
    list_init(&scan->members);
    list_init(&scan->next);
    list_init(&scan->link);
    list_append(&broker->watch_scans, &scan->link);
    return scan;
}

/* Returns the scan, which may not be under way yet; NULL when there is no memory for it. */
static struct watch_scan *watch_join_scan(struct redis_watch *watch)
{
    struct watch_scan *scan = watch_scan_find(watch->broker, watch->resident.server);
    watch_move(watch, WATCH_SCANNING);
    if (!scan) {
        watch_finish(watch, ERROR_OUT_OF_MEMORY);
        return NULL;
    }
    watch->scan = scan;
    watch->is_scanned = false;
    list_append(scan->is_under_way ? &scan->next : &scan->members, &watch->scan_link);
    return scan;
}

static void watch_scan_again(struct timer *timer)
{
    struct watch_scan *scan = watch_join_scan(container_of(timer, struct redis_watch, retry));
    if (scan && !scan->is_under_way)
        watch_scan_begin(scan);
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
    const struct rack *rack = racks_find(&server->broker->news, (struct text){channel, len});
    struct watch_scan *scan = NULL;
    struct list ready;
    list_init(&ready);
    if (rack)
        list_for_each (link, &rack->things) {
            struct redis_watch *watch = container_of(link, struct redis_watch, news.link);
            if (watch->resident.server == server && watch->state == WATCH_SUBSCRIBING)
                list_append(&ready, &watch->scan_link);
        }
    list_drain (link, &ready) {
        struct watch_scan *joined = watch_join_scan(container_of(link, struct redis_watch, scan_link));
        scan = joined ? joined : scan;
    }
    if (scan && !scan->is_under_way)
        watch_scan_begin(scan);
}

void watch_announce(struct redis_broker *broker, const char *name, size_t len)
{
    const struct rack *rack;
    size_t at = 0;
    if (!channel_name_is_valid(name, len))
        return;
    while ((rack = racks_find_above(&broker->watches, (struct text){name, len}, &at)))
        list_for_each (link, &rack->things)
            watch_tell(container_of(link, struct redis_watch, racked.link), name, len, true);
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
    struct redis_watch *watch = watch_of(resident);
    watch->known->known = NULL;
    watch_answer(watch, ERROR_STOPPING);
    watch_free(watch);
}

static const struct resident_ops watch_resident_ops = {
    .lost = watch_server_lost,
    .slots_changed = watch_slots_changed,
    .ended = watch_ended,
};

/* Requests. */

static bool watch_is_below(const struct redis_watch *watch, const char *name, size_t len)
{
    return len > watch->prefix_len && memcmp(name, watch->prefix, watch->prefix_len) == 0;
}

static void watch_tell_bridged(const struct redis_watch *watch)
{
    struct topic *topic;
    struct topic *next;
    HASH_ITER (hh, watch->broker->topics, topic, next) {
        if (topic->state == TOPIC_BRIDGED && watch_is_below(watch, topic->name, topic->name_len))
            watch_tell(watch, topic->name, topic->name_len, false);
    }
}

/* Returns 0 or -ENOMEM. */
static int watch_line_up(struct redis_watch *watch)
{
    struct redis_broker *broker = watch->broker;
    int err = racks_put(&broker->watches, &watch->racked, (struct text){watch->prefix, watch->prefix_len});
    return err ? err : racks_put(&broker->news, &watch->news, text_of(watch->channel));
}

static struct redis_watch *watch_new(struct redis_broker *broker, struct watch_request *request)
{
    struct redis_watch *watch = calloc(1, sizeof(*watch) + request->prefix_len + 1);
    if (!watch)
        return NULL;
    watch->broker = broker;
    watch->mailbox = request->super.reply_to;
    watch->watcher = request->watcher;
    watch->request = watch->known = request;
    watch->slot = call_slot(request->prefix, request->prefix_len);
    watch->prefix_len = request->prefix_len;
    memcpy(watch->prefix, request->prefix, request->prefix_len);
    snprintf(watch->channel, sizeof(watch->channel), "sluice:{%.*s}:n", (int)strcspn(watch->prefix, "/"),
             watch->prefix);
    timer_init(&watch->retry, watch_scan_again);
    list_init(&watch->scan_link);
    if (watch_line_up(watch)) {
        racks_take(&broker->watches, &watch->racked);
        free(watch);
        return NULL;
    }
    resident_init(&watch->resident, &watch_resident_ops, broker);
    return watch;
}

void watch_begin(struct redis_broker *broker, struct watch_request *request)
{
    struct redis_watch *watch = watch_new(broker, request);
    if (!watch) {
        broker_answer(&request->super, ERROR_OUT_OF_MEMORY);
        return;
    }
    request->known = watch;
    watch_tell_bridged(watch);
    watch_subscribe(watch);
    if (watch->state != WATCH_IDLE)
        return;
    watch_answer(watch, ERROR_BROKER_DOWN);
    watch_free(watch);
}

void watch_end(struct watch_request *request)
{
    struct redis_watch *watch = request->known;
    if (watch) {
        struct redis_server *server = watch->resident.server;
        const struct list *others = &watch->news.rack->things;
        if (server && others->next->next == others)
            feed_unsubscribe(server, watch->channel);
        watch_free(watch);
    }
    broker_answer(&request->super, ERROR_NONE);
}
