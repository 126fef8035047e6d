/* SPDX-License-Identifier: MIT */
#include "broker/redis/server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/number.h"
#include "base/random.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/cluster.h"
#include "broker/redis/feed.h"
#include "broker/redis/hello.h"
#include "broker/redis/resident.h"
#include "broker/redis/sentinel.h"
#include "config/options.h"

/* Between half of it and all of it passes before the next try: 50 ms at least, 5 s at most. */
#define SERVER_BACKOFF_LEAST_MS 100u
#define SERVER_BACKOFF_MOST_MS 5000u

static void server_arm(struct redis_server *server, uint64_t after_ms)
{
    timer_arm(&server->broker->wheel, &server->timer, server->broker->now_ms + after_ms);
}

void server_update_readiness(struct redis_broker *broker)
{
    bool is_ready = !list_is_empty(&broker->servers);
    list_for_each (link, &broker->servers) {
        const struct redis_server *server = container_of(link, const struct redis_server, link);
        is_ready = is_ready && (server->state == SERVER_SOUND || server->is_leaving);
    }
    if (broker->is_cluster)
        is_ready = is_ready && cluster_is_whole(broker);
    atomic_store_explicit(&broker->is_ready, is_ready, memory_order_release);
}

void server_move(struct redis_server *server, enum server_state to)
{
    static const unsigned legal[] = {
        [SERVER_GONE] = 0,
        [SERVER_DOWN] = 1u << SERVER_DOWN | 1u << SERVER_ASKING | 1u << SERVER_CONNECTING | 1u << SERVER_GONE,
        [SERVER_ASKING] = 1u << SERVER_DOWN | 1u << SERVER_CONNECTING | 1u << SERVER_GONE,
        [SERVER_CONNECTING] = 1u << SERVER_DOWN | 1u << SERVER_UP | 1u << SERVER_GONE,
        [SERVER_UP] = 1u << SERVER_DOWN | 1u << SERVER_SOUND | 1u << SERVER_GONE,
        [SERVER_SOUND] = 1u << SERVER_DOWN | 1u << SERVER_GONE,
    };
    assert(legal[server->state] & 1u << to);
    server->state = to;
    if (to == SERVER_GONE)
        list_remove(&server->link);
    else
        server_update_readiness(server->broker);
}

/* Lost. */

/* Told once. While it stays away, a reason that somebody can act on is told too, once; that nobody answers is
 * no news. */
static void server_tell_loss(struct redis_server *server, const char *fault)
{
    bool is_first = server->state == SERVER_SOUND || !server->told[0];
    if (!is_first && (!server->has_cause || strcmp(server->told, fault) == 0))
        return;
    snprintf(server->told, sizeof(server->told), "%s", fault);
    log_event(LOG_WARN, "broker-lost", LOG_TEXT("address", server->address ? server->address : "unknown"),
              LOG_TEXT("reason", fault),
              LOG_TEXT("action", server->has_cause
                                     ? "mend what the reason says; Sluice tries again by itself, publishing "
                                       "answers 503 meanwhile"
                                     : "publishing answers 503 until Redis is back; Sluice tries again "
                                       "by itself"));
}

static void server_lose(struct redis_server *server, const char *fault)
{
    struct redis_broker *broker = server->broker;
    bool was_up = server->state >= SERVER_UP;
    if (!server->is_leaving && !broker->is_stopping)
        server_tell_loss(server, fault);
    server->has_cause = false;
    server_move(server, SERVER_DOWN);
    server->probe_sent_ms = 0;
    server->is_saying_probe = false;
    if (server->client_id > 0) {
        server->last_client_id = server->client_id;
        memcpy(server->last_run, server->run, sizeof(server->last_run));
    }
    link_close(&server->commands);
    link_close(&server->feed);
    link_close(&server->sentinel);
    if (was_up)
        broker_count(&broker->super, METRIC_BROKER_RECONNECTS, 1);
    residents_lost(&server->residents);
    if (broker->is_cluster)
        cluster_refresh_soon(broker);
    uint64_t backoff_ms = server->backoff_ms;
    server->backoff_ms = backoff_ms * 2 < SERVER_BACKOFF_MOST_MS ? backoff_ms * 2 : SERVER_BACKOFF_MOST_MS;
    /* At random, so that the nodes do not come back in step. */
    server_arm(server, backoff_ms / 2 + random_below(backoff_ms / 2 + 1));
}

static void server_broken(struct redis_server *server, const struct link *link, const char *fault)
{
    server->has_cause = server->has_cause || link->is_refused;
    server_lose(server, fault);
}

static void server_commands_broken(struct link *link, const char *fault)
{
    server_broken(container_of(link, struct redis_server, commands), link, fault);
}

static void server_feed_broken(struct link *link, const char *fault)
{
    server_broken(container_of(link, struct redis_server, feed), link, fault);
}

void server_fail(struct redis_server *server, const char *fault)
{
    server->has_cause = true;
    link_break(&server->commands, fault);
}

void server_check_reply(struct redis_server *server, const struct redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return;
    if (strncmp(reply->str, "READONLY", 8) == 0)
        server_fail(server, "Redis has become a read-only replica");
    else if (strncmp(reply->str, "NOSCRIPT", 8) == 0 || strstr(reply->str, "Function not found"))
        server_fail(server,
                    "Sluice's functions are gone and cannot be loaded: Redis may be a read-only replica now");
    else if (strncmp(reply->str, "NOAUTH", 6) == 0)
        server_fail(server, "Redis wants a password now");
}

/* Up. */

void server_note_probe(struct redis_server *server)
{
    server->probe_sent_ms = 0;
    if (server->state != SERVER_UP)
        return;
    server_move(server, SERVER_SOUND);
    server->backoff_ms = SERVER_BACKOFF_LEAST_MS;
    server->told[0] = '\0';
    log_event(LOG_INFO, "broker-connected", LOG_TEXT("address", server->address),
              LOG_NUMBER("redis_version", server->version),
              LOG_TEXT("mode", server->is_cluster ? "cluster" : "single"));
}

static void server_words_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = container_of(link, struct redis_server, commands);
    struct redis_broker *broker = server->broker;
    if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0)
        (void)refusal_note(&broker->refusals, broker->now_ms, server->address, reply->str);
    server_check_reply(server, reply);
}

/* Now it is on the feed. Before that it waits behind the opening of all channels, and only the command link's
 * own deadline counts. */
static void server_probe_said(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = container_of(link, struct redis_server, commands);
    server->is_saying_probe = false;
    if (server->probe_sent_ms > 0)
        server->probe_sent_ms = server->broker->now_ms;
    server_words_answered(link, reply);
}

void server_send_probe(struct redis_server *server)
{
    const char *const probe[] = {server->has_sharded ? "SPUBLISH" : "PUBLISH", server->probe, "probe"};
    server->probe_sent_ms = server->broker->now_ms;
    server->is_saying_probe =
        link_send_words(&server->commands, ARRAY_LENGTH(probe), probe, server_probe_said) == 0;
}

/* A probe's channel has to be in a slot that this server has. */
static void server_name_probe(struct redis_server *server)
{
    const struct redis_broker *broker = server->broker;
    char tag[8];
    unsigned i = 0;
    do
        snprintf(tag, sizeof(tag), "%u", i++);
    while (broker->is_cluster && i < 100000 && broker->slots[call_slot(tag, strlen(tag))] != server);
    snprintf(server->probe, sizeof(server->probe), "sluice:{%s}:probe:%s", tag, broker->node);
}

/* Once both links stand: subscribe first, then the rest follows from the confirmations. The probe comes last,
 * so that its return says that everything before it is subscribed too. */
static void server_try_up(struct redis_server *server)
{
    struct redis_broker *broker = server->broker;
    char id[24];
    if (server->state != SERVER_CONNECTING || !server->is_greeted || server->replies_due > 0)
        return;
    server_move(server, SERVER_UP);
    server->up_ms = broker->now_ms;
    /* What the link before this one still has in Redis' buffers must not be executed after we have looked. */
    snprintf(id, sizeof(id), "%lld", server->last_client_id);
    const char *const kill[] = {"CLIENT", "KILL", "ID", id};
    if (server->last_client_id > 0 && strcmp(server->last_run, server->run) == 0)
        /* Without memory it is as without the right to kill. */
        (void)link_send_words(&server->commands, ARRAY_LENGTH(kill), kill, server_words_answered);
    if (!broker->is_cluster)
        for (unsigned i = 0; i < REDIS_SLOTS; i++)
            broker->slots[i] = server;
    residents_up(&server->residents, server);
    residents_up(&broker->homeless, server);
    residents_slots_changed(&broker->homeless);
    server_name_probe(server);
    feed_subscribe(server, server->probe);
    /* Awaited from here on; it is sent once its subscription is confirmed. */
    server->probe_sent_ms = broker->now_ms;
    server_arm(server, broker->options->redis_timeout_ms);
}

void server_greeted(struct redis_server *server)
{
    server->is_greeted = true;
    server_try_up(server);
}

void server_note_feed(struct redis_server *server)
{
    if (server->replies_due == 0)
        return;
    server->replies_due--;
    server_try_up(server);
}

int server_list_login(const struct redis_server *server, const char *words[3])
{
    const struct url *url = &server->broker->url;
    words[0] = "AUTH";
    words[1] = url->user ? url->user : url->password;
    words[2] = url->password;
    return !url->password ? 0 : url->user ? 3 : 2;
}

static void server_commands_connected(struct link *link)
{
    hello_begin(container_of(link, struct redis_server, commands));
}

static void server_feed_connected(struct link *link)
{
    struct redis_server *server = container_of(link, struct redis_server, feed);
    char name[32];
    snprintf(name, sizeof(name), "sluice-%s-feed", server->broker->node);
    const char *const set_name[] = {"CLIENT", "SETNAME", name};
    const char *login[3];
    int words = server_list_login(server, login);
    if ((words > 0 && link_send_words(link, words, login, NULL)) || link_send_words(link, 3, set_name, NULL))
        server_fail(server, "no memory");
    server->replies_due = words > 0 ? 2 : 1;
}

static const struct link_ops server_commands_ops = {
    .connected = server_commands_connected,
    .broken = server_commands_broken,
};

static const struct link_ops server_feed_ops = {
    .connected = server_feed_connected,
    .broken = server_feed_broken,
    .pushed = feed_handle_push,
};

static void server_connect(struct redis_server *server)
{
    server_move(server, SERVER_CONNECTING);
    server->is_greeted = false;
    server->replies_due = 1;
    server->client_id = 0;
    server->clock = (struct clock_offset){0};
    link_close(&server->sentinel);
    link_open(&server->commands, server->address, server->is_unix);
    link_open(&server->feed, server->address, server->is_unix);
    server_arm(server, server->broker->options->redis_timeout_ms);
}

/* While up: a feed that is silent for long is asked whether it is alive. */
static void server_watch(struct redis_server *server)
{
    struct redis_broker *broker = server->broker;
    uint64_t silent_ms = broker->now_ms - server->feed.received_ms;
    uint64_t probe_ms = broker->options->redis_probe_time_ms;
    if (server->probe_sent_ms == 0 && silent_ms >= probe_ms)
        server_send_probe(server);
    /* A feed that brings other things than the probe first is not deaf. */
    uint64_t due_ms =
        number_greater(server->probe_sent_ms, server->feed.received_ms) + broker->options->redis_timeout_ms;
    if (server->probe_sent_ms == 0)
        server_arm(server, probe_ms - silent_ms);
    else if (server->is_saying_probe)
        server_arm(server, broker->options->redis_timeout_ms);
    else if (due_ms > broker->now_ms)
        server_arm(server, due_ms - broker->now_ms);
    else
        server_fail(server, "the subscription link is open and delivers nothing");
}

static void server_timer_fired(struct timer *timer)
{
    struct redis_server *server = container_of(timer, struct redis_server, timer);
    switch (server->state) {
    case SERVER_DOWN:
        if (server->broker->url.kind == URL_SENTINEL)
            sentinel_ask(server);
        else
            server_connect(server);
        break;
    case SERVER_ASKING:
        server_connect(server);
        break;
    case SERVER_CONNECTING:
        /* A link that has broken by itself in this turn says why. */
        if (link_is_open(&server->commands))
            link_break(&server->commands, "Redis accepts the connection and does not answer");
        break;
    case SERVER_UP:
    case SERVER_SOUND:
        server_watch(server);
        break;
    case SERVER_GONE:
        break;
    }
}

struct redis_server *server_new(struct redis_broker *broker, const char *address, bool is_unix)
{
    struct redis_server *server = calloc(1, sizeof(*server));
    char *copy = address ? strdup(address) : NULL;
    if (!server || (address && !copy)) {
        free(server);
        free(copy);
        return NULL;
    }
    server->broker = broker;
    server->id = ++broker->server_count;
    server->state = SERVER_DOWN;
    server->address = copy;
    server->is_unix = is_unix;
    server->backoff_ms = SERVER_BACKOFF_LEAST_MS;
    link_init(&server->commands, &broker->links, &server_commands_ops);
    link_init(&server->feed, &broker->links, &server_feed_ops);
    sentinel_init(server);
    timer_init(&server->timer, server_timer_fired);
    list_init(&server->residents);
    in_doubt_init(server);
    list_init(&server->link);
    list_append(&broker->servers, &server->link);
    server_arm(server, 0);
    return server;
}

void server_renew_times(struct redis_server *server)
{
    link_renew_timeout(&server->commands);
    link_renew_timeout(&server->feed);
    if (server->state >= SERVER_UP)
        server_arm(server, 0);
}

void server_free(struct redis_server *server)
{
    struct redis_broker *broker = server->broker;
    server_move(server, SERVER_GONE);
    for (unsigned i = 0; i < REDIS_SLOTS; i++)
        if (broker->slots[i] == server)
            broker->slots[i] = NULL;
    link_close(&server->commands);
    link_close(&server->feed);
    link_close(&server->sentinel);
    residents_lost(&server->residents);
    list_drain (link, &server->residents)
        resident_move(container_of(link, struct resident, link), NULL);
    timer_stop(&broker->wheel, &server->timer);
    free(server->address);
    free(server);
}

void servers_slots_changed(struct redis_broker *broker)
{
    list_for_each (link, &broker->servers)
        residents_slots_changed(&container_of(link, struct redis_server, link)->residents);
    residents_slots_changed(&broker->homeless);
}

void servers_close(struct redis_broker *broker)
{
    list_for_each (link, &broker->servers)
        residents_end(&container_of(link, struct redis_server, link)->residents);
    residents_end(&broker->homeless);
    list_drain (link, &broker->servers)
        server_free(container_of(link, struct redis_server, link));
}
