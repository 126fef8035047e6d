/* SPDX-License-Identifier: MIT */
#include "broker/redis/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/answer.h"
#include "broker/redis/ask.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/scan.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"

struct listing;

struct listing_entry {
    struct call call;
    struct listing *listing;
    struct inspection *channel;
};

struct listing {
    struct scan scan;
    struct redis_broker *broker;
    struct list_request *request;
    uint64_t server_id; /* of the last one that was scanned; they are in the order of their ids */
    size_t count;
    size_t pending; /* calls for single channels */
    enum error_code error;
    struct inspection *found;      /* by name, the first limit + 1 */
    struct listing_entry *entries; /* one for each found */
};

static void listing_end(struct listing *listing, enum error_code error)
{
    struct list_request *request = listing->request;
    size_t kept = 0;
    /* Those that have gone in the meantime have no epoch. */
    for (size_t i = 0; i < listing->count; i++)
        if (listing->found[i].epoch.text[0])
            listing->found[kept++] = listing->found[i];
    request->has_more = listing->count > request->limit;
    request->count = kept < request->limit ? kept : request->limit;
    request->entries = listing->found;
    if (error != ERROR_NONE) {
        request->count = 0;
        request->entries = NULL;
        free(listing->found);
    }
    broker_answer(&request->super, error);
    free(listing->entries);
    free(listing);
}

/* Adds a name in its place, unless it is there, or comes behind limit + 1 others. */
static void listing_add(struct listing *listing, const char *name, size_t len)
{
    const struct list_request *request = listing->request;
    char text[CHANNEL_NAME_MAX + 1];
    memcpy(text, name, len);
    text[len] = '\0';
    if (strncmp(text, request->prefix, strlen(request->prefix)) != 0 || strcmp(text, request->after) <= 0)
        return;
    size_t low = 0;
    size_t high = listing->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(listing->found[middle].name, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > request->limit || (low < listing->count && strcmp(listing->found[low].name, text) == 0))
        return;
    if (listing->count <= request->limit)
        listing->count++;
    memmove(&listing->found[low + 1], &listing->found[low],
            (listing->count - low - 1) * sizeof(*listing->found));
    listing->found[low] = (struct inspection){.name_len = len};
    memcpy(listing->found[low].name, text, len + 1);
}

static void listing_inspected(struct call *call, const struct redisReply *reply)
{
    struct listing_entry *entry = container_of(call, struct listing_entry, call);
    struct listing *listing = entry->listing;
    int err = reply ? answer_parse_inspection(entry->channel, reply) : -EBADMSG;
    enum error_code error = err == 0 || err == -ENOENT ? ERROR_NONE : call_error(call, reply);
    /* One channel whose keys hold something else, which the log has named, does not hide the others. */
    if (error != ERROR_BROKER_REFUSED)
        listing->error = error != ERROR_NONE ? error : listing->error;
    call_deinit(call);
    if (--listing->pending == 0)
        listing_end(listing, listing->error);
}

static void listing_inspect_all(struct listing *listing)
{
    listing->entries = calloc(listing->count + 1, sizeof(*listing->entries));
    if (!listing->entries) {
        listing_end(listing, ERROR_OUT_OF_MEMORY);
        return;
    }
    /* One more, so that the listing outlives the loop. */
    listing->pending = 1;
    for (size_t i = 0; i < listing->count; i++) {
        struct listing_entry *entry = &listing->entries[i];
        struct inspection *channel = &listing->found[i];
        const struct text name = {channel->name, channel->name_len};
        struct topic *topic = topic_find(listing->broker, name);
        entry->listing = listing;
        entry->channel = channel;
        if (topic && topic->state == TOPIC_BRIDGED) {
            ask_inspect_bridged(channel, topic);
        } else if (call_prepare(&entry->call, listing->broker, "inspect", name, NULL, NULL, 0,
                                listing_inspected)) {
            listing->error = ERROR_BROKER_DOWN;
        } else {
            listing->pending++;
            call_submit(&entry->call);
        }
    }
    if (--listing->pending == 0)
        listing_end(listing, listing->error);
}

static struct redis_server *listing_find_server(const struct listing *listing)
{
    list_for_each (link, &listing->broker->servers) {
        struct redis_server *server = container_of(link, struct redis_server, link);
        if (server->id > listing->server_id && server->state >= SERVER_UP)
            return server;
    }
    return NULL;
}

static void listing_scan_next(struct listing *listing)
{
    struct redis_server *server = listing_find_server(listing);
    if (!atomic_load_explicit(&listing->broker->is_ready, memory_order_relaxed)) {
        listing_end(listing, ERROR_BROKER_DOWN);
    } else if (!server) {
        listing_inspect_all(listing);
    } else {
        listing->server_id = server->id;
        scan_begin(&listing->scan, server);
    }
}

static void listing_found(struct scan *scan, const char *name, size_t len)
{
    listing_add(container_of(scan, struct listing, scan), name, len);
}

static void listing_scanned(struct scan *scan, enum error_code error)
{
    struct listing *listing = container_of(scan, struct listing, scan);
    if (error == ERROR_NONE)
        listing_scan_next(listing);
    else
        listing_end(listing, error);
}

void listing_begin(struct redis_broker *broker, struct list_request *request)
{
    struct topic *topic;
    struct topic *next;
    struct listing *listing = calloc(1, sizeof(*listing));
    if (listing)
        listing->found = calloc(request->limit + 2, sizeof(*listing->found));
    if (!listing || !listing->found) {
        free(listing);
        broker_answer(&request->super, ERROR_OUT_OF_MEMORY);
        return;
    }
    listing->broker = broker;
    listing->request = request;
    listing->scan.found = listing_found;
    listing->scan.ended = listing_scanned;
    HASH_ITER (hh, broker->topics, topic, next) {
        if (topic->state == TOPIC_BRIDGED)
            listing_add(listing, topic->name, topic->name_len);
    }
    listing_scan_next(listing);
}
