/* SPDX-License-Identifier: MIT */
#include "broker/redis/sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/broker.h"
#include "broker/redis/server.h"

static const char *sentinel_address(const struct redis_server *server)
{
    const struct url *url = &server->broker->url;
    return url->addresses[server->sentinel_index % url->count];
}

static void sentinel_broken(struct link *link, const char *fault)
{
    struct redis_server *server = container_of(link, struct redis_server, sentinel);
    char text[LINK_FAULT_MAX];
    snprintf(text, sizeof(text), "Sentinel %.64s: %.150s", sentinel_address(server), fault);
    server->sentinel_index++;
    server_fail(server, text);
}

static char *sentinel_join(const struct redisReply *host, const struct redisReply *port)
{
    char *address = NULL;
    bool is_v6 = strchr(host->str, ':') != NULL;
    int len = asprintf(&address, is_v6 ? "[%s]:%s" : "%s:%s", host->str, port->str);
    return len < 0 ? NULL : address;
}

static void sentinel_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = container_of(link, struct redis_server, sentinel);
    char fault[LINK_FAULT_MAX];
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING && reply->element[1]->type == REDIS_REPLY_STRING) {
        char *address = sentinel_join(reply->element[0], reply->element[1]);
        if (address) {
            free(server->address);
            server->address = address;
            /* The server's timer goes on from here: a link is not closed within its own callback. */
            timer_arm(&server->broker->wheel, &server->timer, server->broker->now_ms);
            return;
        }
    }
    if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0)
        snprintf(fault, sizeof(fault), "it wants a password; add ?sentinel-password= to the broker URL");
    else if (reply->type == REDIS_REPLY_ERROR)
        snprintf(fault, sizeof(fault), "%.150s", reply->str);
    else
        snprintf(fault, sizeof(fault), "it knows no master %.64s", server->broker->url.master);
    link_break(link, fault);
}

static void sentinel_login_answered(struct link *link, const struct redisReply *reply)
{
    char fault[LINK_FAULT_MAX];
    if (reply->type != REDIS_REPLY_ERROR)
        return;
    snprintf(fault, sizeof(fault), "it refuses sentinel-user or sentinel-password of the broker URL: %.100s",
             reply->str);
    link_break(link, fault);
}

static int sentinel_log_in(struct link *link, const struct url *url)
{
    const char *const with_user[] = {"AUTH", url->sentinel_user, url->sentinel_password};
    const char *const without[] = {"AUTH", url->sentinel_password};
    if (!url->sentinel_password)
        return 0;
    return url->sentinel_user ? link_send_words(link, 3, with_user, sentinel_login_answered)
                              : link_send_words(link, 2, without, sentinel_login_answered);
}

static void sentinel_connected(struct link *link)
{
    struct redis_server *server = container_of(link, struct redis_server, sentinel);
    const char *const argv[] = {"SENTINEL", "get-master-addr-by-name", server->broker->url.master};
    if (sentinel_log_in(link, &server->broker->url) ||
        link_send_words(link, ARRAY_LENGTH(argv), argv, sentinel_answered))
        link_break(link, "no memory");
}

static const struct link_ops sentinel_ops = {.connected = sentinel_connected, .broken = sentinel_broken};

void sentinel_init(struct redis_server *server)
{
    link_init(&server->sentinel, &server->broker->links, &sentinel_ops);
}

void sentinel_ask(struct redis_server *server)
{
    server_move(server, SERVER_ASKING);
    link_open(&server->sentinel, sentinel_address(server), false);
}
