/* SPDX-License-Identifier: MIT */
#include "broker/redis/chronicle.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/feed.h"
#include "broker/redis/occupancy.h"
#include "broker/redis/presence_desk.h"
#include "broker/redis/presence_event.h"
#include "broker/redis/resident.h"
#include "broker/redis/server.h"
#include "config/channel_options.h"

/* While the slot of $channel is away; what comes besides is lost, as events are that nobody hears. */
#define CHRONICLE_MOST 65536u
/* "STAMP ENDS NAME" */
#define CHRONICLE_TEXT_MAX (CHANNEL_NAME_MAX + 48u)

struct chronicle {
    struct presence_desk *desk;
    struct resident
        resident; /* of a server that is up, where it is subscribed; homeless when there is none */
    struct list news;
    unsigned count;
};

struct chronicle_note {
    struct list link;
    size_t len;
    char kind;
    char text[];
};

static void chronicle_add(struct chronicle *chronicle, char kind, struct text text)
{
    struct chronicle_note *note = chronicle->count < CHRONICLE_MOST ? malloc(sizeof(*note) + text.len) : NULL;
    if (!note)
        return;
    note->kind = kind;
    note->len = text.len;
    memcpy(note->text, text.bytes, text.len);
    list_init(&note->link);
    list_append(&chronicle->news, &note->link);
    chronicle->count++;
    occupancy_go_on(chronicle->desk);
}

bool chronicle_has_news(const struct chronicle *chronicle)
{
    return chronicle->count > 0;
}

unsigned chronicle_list_words(struct chronicle *chronicle, struct text *words, unsigned most,
                              struct list *taken)
{
    static const char *const kinds[] = {"c", "f", "k", "p"};
    unsigned count = 0;
    while (count < 2 * most && !list_is_empty(&chronicle->news)) {
        struct chronicle_note *note = container_of(list_pop(&chronicle->news), struct chronicle_note, link);
        for (unsigned i = 0; i < ARRAY_LENGTH(kinds); i++)
            if (kinds[i][0] == note->kind)
                words[count] = text_of(kinds[i]);
        words[count + 1] = (struct text){note->text, note->len};
        count += 2;
        chronicle->count--;
        list_append(taken, &note->link);
    }
    return count;
}

void chronicle_settle(struct chronicle *chronicle, struct list *taken, bool is_told)
{
    list_drain (link, taken) {
        struct chronicle_note *note = container_of(link, struct chronicle_note, link);
        list_remove(link);
        if (is_told || chronicle->count == CHRONICLE_MOST) {
            free(note);
            continue;
        }
        list_append(&chronicle->news, &note->link);
        chronicle->count++;
    }
}

void chronicle_receive(struct redis_broker *broker, struct text text)
{
    struct channel_options found;
    struct life_event event;
    if (life_event_parse(&event, text))
        return;
    channel_options_resolve(&found, broker->options, event.name);
    if (found.events)
        chronicle_add(broker->presence->chronicle, event.kind, event.text);
}

/* Asking. */

struct life_call {
    struct call call;
    struct chronicle *chronicle;
    size_t name_len;
    size_t born_len;
    char name[CHANNEL_NAME_MAX];
    char born[20];
};

/* What was not answered is asked again, by whoever looks next. */
static void chronicle_answered(struct call *call, const struct redisReply *reply)
{
    struct life_call *asked = container_of(call, struct life_call, call);
    bool is_answer = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                     reply->element[0]->type == REDIS_REPLY_STRING && reply->element[0]->len <= 16 &&
                     reply->element[1]->type == REDIS_REPLY_INTEGER;
    if (is_answer) {
        const struct redisReply *born = reply->element[0];
        char text[CHRONICLE_TEXT_MAX];
        bool is_there = born->len > 0;
        int len = snprintf(text, sizeof(text), "%.*s %lld %.*s",
                           (int)(is_there ? born->len : asked->born_len), is_there ? born->str : asked->born,
                           reply->element[1]->integer, (int)asked->name_len, asked->name);
        chronicle_add(asked->chronicle, is_there ? 'k' : 'f', (struct text){text, (size_t)len});
    } else {
        (void)call_error(call, reply); /* the operator is told */
    }
    call_deinit(call);
    free(asked);
}

void chronicle_ask(struct chronicle *chronicle, struct text name, struct text born)
{
    struct redis_broker *broker = chronicle->desk->broker;
    struct life_call *asked = calloc(1, sizeof(*asked));
    if (!asked || !channel_name_is_valid(name.bytes, name.len) || born.len > sizeof(asked->born) ||
        call_prepare(&asked->call, broker, "life", name, NULL, NULL, 0, chronicle_answered) != ERROR_NONE) {
        free(asked);
        return;
    }
    asked->chronicle = chronicle;
    asked->name_len = name.len;
    asked->born_len = born.len;
    memcpy(asked->name, name.bytes, name.len);
    memcpy(asked->born, born.bytes, born.len);
    call_submit(&asked->call);
}

/* Subscribing. One server suffices: Redis hands what is published to all of the Cluster. */

static void chronicle_subscribe(struct chronicle *chronicle, struct redis_server *server)
{
    if (!chronicle->desk->broker->is_cluster || server->is_leaving)
        return;
    resident_move(&chronicle->resident, server);
    feed_say(server, "SUBSCRIBE", CHRONICLE_CHANNEL);
}

static void chronicle_server_up(struct resident *resident, struct redis_server *server)
{
    struct chronicle *chronicle = container_of(resident, struct chronicle, resident);
    if (!resident->server)
        chronicle_subscribe(chronicle, server);
}

static void chronicle_server_lost(struct resident *resident)
{
    struct chronicle *chronicle = container_of(resident, struct chronicle, resident);
    const struct redis_server *lost = resident->server;
    resident_move(resident, NULL);
    list_for_each (link, &resident->broker->servers) {
        struct redis_server *server = container_of(link, struct redis_server, link);
        if (!resident->server && server != lost && server->state >= SERVER_UP)
            chronicle_subscribe(chronicle, server);
    }
}

static void chronicle_ended(struct resident *resident)
{
    resident_deinit(resident);
}

static const struct resident_ops chronicle_resident_ops = {
    .up = chronicle_server_up,
    .lost = chronicle_server_lost,
    .ended = chronicle_ended,
};

struct chronicle *chronicle_new(struct presence_desk *desk)
{
    struct chronicle *chronicle = calloc(1, sizeof(*chronicle));
    if (!chronicle)
        return NULL;
    chronicle->desk = desk;
    list_init(&chronicle->news);
    resident_init(&chronicle->resident, &chronicle_resident_ops, desk->broker);
    return chronicle;
}

void chronicle_free(struct chronicle *chronicle)
{
    if (!chronicle)
        return;
    chronicle_settle(chronicle, &chronicle->news, true);
    resident_deinit(&chronicle->resident);
    free(chronicle);
}
