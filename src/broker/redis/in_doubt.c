/* SPDX-License-Identifier: MIT */
#include "broker/redis/in_doubt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/redis/publish.h"
#include "broker/redis/server.h"
#include "config/options.h"

/* Marks in one question. */
#define IN_DOUBT_MOST 400u
/* Entries of before the first of them, by Redis' clock, end the search; clocks may differ by so much. */
#define IN_DOUBT_SLACK_MS 60000
/* After so many times the timeout whoever has published gets to know that nothing is known. */
#define IN_DOUBT_PATIENCE 2u

struct finding {
    struct call call;
    uint64_t server_id; /* of the one that lost the answers; it may be gone */
    size_t count;
    struct publication *publications[IN_DOUBT_MOST];
};

static void in_doubt_find_next(struct server *server);

/* Takes the answer for publication `index`. */
static void in_doubt_take_answer(struct finding *finding, size_t index, const struct redisReply *reply,
                                 bool is_complete)
{
    struct publication *publication = finding->publications[index];
    const struct publish_item *item = publication->item;
    struct published published;
    int err = answer_parse_found_at(&published, reply, index, item->channel, item->channel_len);
    if (err == 0)
        publication_accept(publication, &published);
    else if (err != -ENOENT)
        publication_finish(publication, call_error(&finding->call, reply));
    else if (is_complete)
        call_submit(&publication->call);
    else
        publication_finish(publication, ERROR_BROKER_DOWN);
}

/* The answer may come from another server, to which the slot has moved, when the one that had lost it is no
 * more. */
static struct server *in_doubt_find_server(const struct redis_broker *broker, uint64_t id)
{
    list_for_each (link, &broker->servers) {
        struct server *server = container_of(link, struct server, link);
        if (server->id == id)
            return server;
    }
    return NULL;
}

static void in_doubt_found(struct call *call, const struct redisReply *reply)
{
    struct finding *finding = container_of(call, struct finding, call);
    struct server *server = in_doubt_find_server(call->broker, finding->server_id);
    bool is_complete = false;
    bool is_answer = reply && answer_parse_found(&is_complete, reply, finding->count) == 0;
    if (server)
        server->is_finding = false;
    if (!reply && server)
        /* Lost again: back to the front, in order. */
        for (size_t i = finding->count; i > 0; i--)
            list_prepend(&server->lost, &finding->publications[i - 1]->link);
    for (size_t i = 0; (reply || !server) && i < finding->count; i++) {
        if (is_answer)
            in_doubt_take_answer(finding, i, reply, is_complete);
        else
            publication_finish(finding->publications[i], call_error(call, reply));
    }
    call_deinit(call);
    free(finding);
    if (reply && server)
        in_doubt_find_next(server);
}

static bool in_doubt_is_same_channel(const struct publish_item *a, const struct publish_item *b)
{
    return a->channel_len == b->channel_len && memcmp(a->channel, b->channel, a->channel_len) == 0;
}

/* Takes those of the first one's channel out of the list, but not past one with a key: that is sent again in
 * its turn. */
static void in_doubt_gather(struct finding *finding, struct server *server)
{
    list_for_each_safe (link, &server->lost) {
        struct publication *publication = container_of(link, struct publication, link);
        bool is_same = finding->count == 0 ||
                       in_doubt_is_same_channel(publication->item, finding->publications[0]->item);
        if (is_same && (publication->item->key_len > 0 || finding->count == IN_DOUBT_MOST))
            return;
        if (!is_same)
            continue;
        list_remove(link);
        finding->publications[finding->count++] = publication;
    }
}

static int in_doubt_ask(struct finding *finding, struct redis_broker *broker)
{
    struct argument arguments[IN_DOUBT_MOST + 1];
    const struct publication *first = finding->publications[0];
    int64_t since_ms = clock_wall_ms() - (int64_t)(broker->now_ms - first->submitted_ms) - IN_DOUBT_SLACK_MS;
    char since[21];
    arguments[0] = call_number(since, since_ms > 0 ? (uint64_t)since_ms : 0);
    for (size_t i = 0; i < finding->count; i++)
        arguments[i + 1] =
            (struct argument){finding->publications[i]->mark, strlen(finding->publications[i]->mark)};
    return call_prepare(&finding->call, broker, "find", first->item->channel, first->item->channel_len, NULL,
                        0, arguments, (unsigned)finding->count + 1, in_doubt_found);
}

static void in_doubt_find_next(struct server *server)
{
    struct list *link;
    while (server->state >= SERVER_UP && (link = list_first(&server->lost))) {
        struct publication *first = container_of(link, struct publication, link);
        if (first->item->key_len > 0 || first->is_bridged) {
            list_remove(link);
            call_submit(&first->call);
            continue;
        }
        struct finding *finding = calloc(1, sizeof(*finding));
        if (!finding) {
            publication_finish(first, ERROR_OUT_OF_MEMORY);
            continue;
        }
        finding->server_id = server->id;
        in_doubt_gather(finding, server);
        int err = in_doubt_ask(finding, server->broker);
        if (err) {
            for (size_t i = 0; i < finding->count; i++)
                publication_finish(finding->publications[i],
                                   err == -ENOMEM ? ERROR_OUT_OF_MEMORY : ERROR_BROKER_DOWN);
            free(finding);
            continue;
        }
        server->is_finding = true;
        call_submit(&finding->call);
        return;
    }
}

void in_doubt_server_up(struct server *server)
{
    if (!server->is_finding)
        in_doubt_find_next(server);
}

void in_doubt_expire(struct server *server)
{
    const struct redis_broker *broker = server->broker;
    list_for_each_safe (link, &server->lost) {
        struct publication *publication = container_of(link, struct publication, link);
        if (publication->submitted_ms + IN_DOUBT_PATIENCE * broker->options->redis_timeout_ms <=
            broker->now_ms)
            publication_finish(publication, ERROR_BROKER_DOWN);
    }
}

void in_doubt_server_gone(struct server *server)
{
    struct list *link;
    while ((link = list_first(&server->lost)))
        publication_finish(container_of(link, struct publication, link), ERROR_BROKER_DOWN);
}
