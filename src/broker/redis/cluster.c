/* SPDX-License-Identifier: MIT */
#include "broker/redis/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/server.h"

#define CLUSTER_REFRESH_SOON_MS 100u
#define CLUSTER_REFRESH_MS 10000u
#define CLUSTER_ADDRESS_MAX 280u

bool cluster_is_whole(const struct redis_broker *broker)
{
    for (unsigned i = 0; i < REDIS_SLOTS; i++)
        if (!broker->slots[i])
            return false;
    return true;
}

static struct redis_server *cluster_get(struct redis_broker *broker, const char *address)
{
    list_for_each (link, &broker->servers) {
        struct redis_server *server = container_of(link, struct redis_server, link);
        if (strcmp(server->address, address) != 0)
            continue;
        server->is_leaving = false;
        return server;
    }
    return server_new(broker, address, false);
}

/* "127.0.0.1:7000@17000,hostname" as newer versions write it, or ":7000" for the host that answered. */
struct redis_server *cluster_find(struct redis_broker *broker, const struct redis_server *teller,
                                  const char *address)
{
    char text[CLUSTER_ADDRESS_MAX];
    const char *colon = strrchr(teller->address, ':');
    size_t len = strcspn(address, "@, ");
    if (len == 0 || len >= 200 || !colon)
        return NULL;
    if (address[0] == ':' || address[0] == '?')
        snprintf(text, sizeof(text), "%.*s%.*s", (int)(colon - teller->address), teller->address,
                 (int)(len - strcspn(address, ":")), address + strcspn(address, ":"));
    else
        snprintf(text, sizeof(text), "%.*s", (int)len, address);
    return cluster_get(broker, text);
}

/* One range of CLUSTER SLOTS: first, last, then the master as [host, port, id …]. */
static void cluster_note_range(struct redis_server *teller, const struct redisReply *range)
{
    struct redis_broker *broker = teller->broker;
    char address[CLUSTER_ADDRESS_MAX];
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 ||
        range->element[0]->type != REDIS_REPLY_INTEGER || range->element[1]->type != REDIS_REPLY_INTEGER)
        return;
    const struct redisReply *master = range->element[2];
    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2 ||
        master->element[1]->type != REDIS_REPLY_INTEGER)
        return;
    const char *host = master->element[0]->type == REDIS_REPLY_STRING ? master->element[0]->str : "";
    snprintf(address, sizeof(address), strchr(host, ':') ? "[%.200s]:%lld" : "%.200s:%lld", host,
             master->element[1]->integer);
    struct redis_server *server = cluster_find(broker, teller, address);
    for (long long slot = range->element[0]->integer; server && slot <= range->element[1]->integer; slot++)
        if (slot >= 0 && slot < REDIS_SLOTS)
            broker->slots[slot] = server;
}

static void cluster_mark_leaving(struct redis_broker *broker)
{
    list_for_each (link, &broker->servers)
        container_of(link, struct redis_server, link)->is_leaving = true;
    for (unsigned i = 0; i < REDIS_SLOTS; i++)
        if (broker->slots[i])
            broker->slots[i]->is_leaving = false;
}

static void cluster_slots_answered(struct call *call, const struct redisReply *reply)
{
    struct redis_broker *broker = call->broker;
    broker->is_asking_slots = false;
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        broker->is_cluster = true;
        memset(broker->slots, 0, sizeof(broker->slots));
        for (size_t i = 0; i < reply->elements; i++)
            cluster_note_range(call->server, reply->element[i]);
        cluster_mark_leaving(broker);
        servers_slots_changed(broker);
        server_update_readiness(broker);
    }
    call_deinit(call);
    free(call);
    timer_arm(&broker->wheel, &broker->slots_timer,
              broker->now_ms + (cluster_is_whole(broker) ? CLUSTER_REFRESH_MS : CLUSTER_REFRESH_SOON_MS * 5));
}

void cluster_ask_slots(struct redis_server *server)
{
    const char *const argv[] = {"CLUSTER", "SLOTS"};
    struct call *call = malloc(sizeof(*call));
    if (!call || call_prepare_command(call, server, 2, argv, NULL, cluster_slots_answered)) {
        free(call);
        return;
    }
    server->broker->is_cluster = true;
    server->broker->is_asking_slots = true;
    call_submit(call);
}

/* Whoever is there knows the map; if nobody is, the addresses of the option are tried again too. */
static void cluster_refresh(struct timer *timer)
{
    struct redis_broker *broker = container_of(timer, struct redis_broker, slots_timer);
    struct redis_server *best = NULL;
    timer_arm(&broker->wheel, timer, broker->now_ms + CLUSTER_REFRESH_SOON_MS * 5);
    list_for_each (link, &broker->servers) {
        struct redis_server *server = container_of(link, struct redis_server, link);
        if (server->state >= SERVER_UP && (!best || server->feed.received_ms > best->feed.received_ms))
            best = server;
    }
    if (broker->is_asking_slots)
        return;
    if (best)
        cluster_ask_slots(best);
    for (size_t i = 0; !best && i < broker->url.count; i++)
        (void)cluster_get(broker, broker->url.addresses[i]);
}

void cluster_refresh_soon(struct redis_broker *broker)
{
    if (broker->is_cluster)
        timer_arm(&broker->wheel, &broker->slots_timer, broker->now_ms + CLUSTER_REFRESH_SOON_MS);
}

void cluster_sweep(struct redis_broker *broker)
{
    if (!broker->is_cluster || broker->is_asking_slots)
        return;
    list_for_each_safe (link, &broker->servers) {
        struct redis_server *server = container_of(link, struct redis_server, link);
        if (server->is_leaving)
            server_free(server);
    }
}

void cluster_init(struct redis_broker *broker)
{
    timer_init(&broker->slots_timer, cluster_refresh);
}
