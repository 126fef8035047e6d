/* SPDX-License-Identifier: MIT */
#include "broker/redis/hello.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "broker/redis/broker.h"
#include "broker/redis/cluster.h"
#include "broker/redis/library.h"
#include "broker/redis/server.h"

#define HELLO_VERSION_LEAST 60000u

static struct redis_server *hello_server(struct link *link)
{
    return container_of(link, struct redis_server, commands);
}

static void hello_say(struct redis_server *server, int argc, const char *const *argv,
                      void (*answered)(struct link *link, const struct redisReply *reply))
{
    if (link_send_words(&server->commands, argc, argv, answered))
        server_fail(server, "no memory");
}

static void hello_refused(struct redis_server *server, const char *what, const struct redisReply *reply)
{
    char fault[LINK_FAULT_MAX];
    snprintf(fault, sizeof(fault), "%s: %s", what,
             reply->type == REDIS_REPLY_ERROR ? reply->str : "an odd answer");
    server_fail(server, fault);
}

static void hello_login_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = hello_server(link);
    if (reply->type == REDIS_REPLY_ERROR)
        hello_refused(server, "Redis refuses user or password of the broker URL", reply);
}

static void hello_database_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = hello_server(link);
    if (reply->type != REDIS_REPLY_ERROR)
        return;
    if (strncmp(reply->str, "NOAUTH", 6) == 0)
        hello_refused(server, "Redis wants a password; put it into the broker URL as redis://:password@host",
                      reply);
    else
        hello_refused(server, "Redis does not have the database of the broker URL", reply);
}

static void hello_id_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = hello_server(link);
    if (reply->type == REDIS_REPLY_INTEGER)
        server->client_id = reply->integer;
}

/* The value of a line of INFO. */
static bool hello_find(const char *info, const char *name, char *to, size_t size)
{
    const char *at = info;
    size_t len = strlen(name);
    while (at && strncmp(at, name, len) != 0) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    to[0] = '\0';
    if (!at)
        return false;
    at += len;
    snprintf(to, size, "%.*s", (int)strcspn(at, "\r\n"), at);
    return true;
}

static unsigned hello_read_version(const char *text)
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;
    return sscanf(text, "%3u.%2u.%2u", &major, &minor, &patch) >= 2 ? major * 10000 + minor * 100 + patch : 0;
}

/* Keys of one channel that go apart end in a reset; an operator would rather not have them go at all. */
static void hello_warn_of_eviction(struct redis_server *server, const char *info)
{
    char limit[32];
    char policy[32];
    hello_find(info, "maxmemory:", limit, sizeof(limit));
    hello_find(info, "maxmemory_policy:", policy, sizeof(policy));
    if (server->was_warned || strcmp(limit, "0") == 0 || !policy[0] || strcmp(policy, "noeviction") == 0)
        return;
    server->was_warned = true;
    log_event(
        LOG_WARN, "broker-evicts", LOG_TEXT("address", server->address), LOG_TEXT("maxmemory_policy", policy),
        LOG_TEXT("action", "Redis may drop channels to make room, their subscribers then get a reset; "
                           "CONFIG SET maxmemory-policy noeviction makes publishing answer 503 instead"));
}

static void hello_load_library(struct redis_server *server);

static void hello_library_loaded(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = hello_server(link);
    if (reply->type == REDIS_REPLY_ERROR)
        hello_refused(server, "Redis does not take Sluice's functions", reply);
    else if (server->has_functions)
        server_greeted(server);
    else if (reply->type != REDIS_REPLY_STRING || reply->len != REDIS_REPLID_LEN)
        hello_refused(server, "Redis does not take Sluice's script", reply);
    else {
        snprintf(server->script, sizeof(server->script), "%s", reply->str);
        server_greeted(server);
    }
}

static void hello_library_version_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = hello_server(link);
    char fault[LINK_FAULT_MAX];
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer == LIBRARY_VERSION) {
        server_greeted(server);
    } else if (reply->type == REDIS_REPLY_INTEGER && reply->integer > LIBRARY_VERSION) {
        snprintf(fault, sizeof(fault),
                 "Redis holds version %lld of the function library sluice, this Sluice knows version %d: run "
                 "the newer "
                 "Sluice here too, or go back everywhere with FUNCTION DELETE sluice",
                 reply->integer, LIBRARY_VERSION);
        server_fail(server, fault);
    } else if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "unknown command")) {
        /* A Redis of another make, or one whose operator has taken functions away. */
        server->has_functions = false;
        hello_load_library(server);
    } else if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "not found") == NULL) {
        hello_refused(server, "Redis does not let Sluice call functions", reply);
    } else {
        hello_load_library(server);
    }
}

static void hello_load_library(struct redis_server *server)
{
    const char *const functions[] = {"FUNCTION", "LOAD", "REPLACE", library_functions};
    const char *const script[] = {"SCRIPT", "LOAD", library_script};
    if (server->has_functions)
        hello_say(server, 4, functions, hello_library_loaded);
    else
        hello_say(server, 3, script, hello_library_loaded);
}

static void hello_check_role(struct redis_server *server, const char *role)
{
    const char *const version[] = {"FCALL", "sluice_version", "0"};
    bool is_master = strcmp(role, "master") == 0;
    /* A replica among the addresses of a Cluster still knows who the masters are. */
    if (server->is_cluster)
        cluster_ask_slots(server);
    if (!is_master && server->is_cluster)
        return;
    if (!is_master)
        server_fail(server,
                    server->broker->url.kind == URL_SENTINEL
                        ? "the master that the Sentinel names is not master yet"
                        : "Redis is a read-only replica; give the master's address, or redis-sentinel://");
    else if (server->has_functions)
        hello_say(server, 3, version, hello_library_version_answered);
    else
        hello_load_library(server);
}

static void hello_info_answered(struct link *link, const struct redisReply *reply)
{
    struct redis_server *server = hello_server(link);
    char text[64];
    char role[16];
    if (reply->type != REDIS_REPLY_STRING) {
        hello_refused(server, "Redis does not say what it is (INFO)", reply);
        return;
    }
    if (!hello_find(reply->str, "redis_version:", text, sizeof(text))) {
        server_fail(server, "what answers there is not Redis: INFO names no redis_version");
        return;
    }
    server->version = hello_read_version(text);
    if (server->version < HELLO_VERSION_LEAST) {
        char fault[LINK_FAULT_MAX];
        snprintf(fault, sizeof(fault), "this is Redis %s; Sluice needs 6.0 or newer", text);
        server_fail(server, fault);
        return;
    }
    hello_find(reply->str, "redis_mode:", text, sizeof(text));
    server->has_functions = server->version >= 70000;
    server->has_sharded = server->has_functions;
    server->is_cluster = strcmp(text, "cluster") == 0;
    hello_find(reply->str, "run_id:", server->run, sizeof(server->run));
    hello_find(reply->str, "role:", role, sizeof(role));
    hello_warn_of_eviction(server, reply->str);
    hello_check_role(server, role);
}

void hello_begin(struct redis_server *server)
{
    const struct url *url = &server->broker->url;
    char name[32];
    char db[16];
    snprintf(name, sizeof(name), "sluice-%s", server->broker->node);
    snprintf(db, sizeof(db), "%u", url->db);
    const char *login[3];
    int words = server_list_login(server, login);
    const char *const select[] = {"SELECT", db};
    const char *const set_name[] = {"CLIENT", "SETNAME", name};
    const char *const id[] = {"CLIENT", "ID"};
    const char *const info[] = {"INFO"};
    if (words > 0)
        hello_say(server, words, login, hello_login_answered);
    hello_say(server, 2, select, hello_database_answered);
    hello_say(server, 3, set_name, NULL);
    hello_say(server, 2, id, hello_id_answered);
    hello_say(server, 1, info, hello_info_answered);
}
