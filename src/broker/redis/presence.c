/* SPDX-License-Identifier: MIT */
#include "broker/redis/presence.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_scan.h"
#include "base/number.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/chronicle.h"
#include "broker/redis/occupancy.h"
#include "broker/redis/presence_desk.h"
#include "broker/redis/presence_event.h"
#include "broker/redis/resident.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "config/channel_options.h"
#include "core/presence.h"

/* Members told in one call: six arguments each. */
#define ROOM_BATCH 64u
#define ROOM_RETRY_MS 500u
#define ROOM_LEASE_NAME_MAX (REDIS_NODE_LEN + 24u)

struct redis_broker *desk_broker(const struct roster *roster)
{
    return container_of(roster, struct presence_desk, roster)->broker;
}

uint64_t desk_sweep_until(const struct redis_server *server)
{
    const uint64_t now_ms = server->broker->now_ms;
    if (!server->clock.is_known || now_ms < server->up_ms + PRESENCE_LEASE_MS)
        return 0;
    int64_t until_ms = (int64_t)now_ms + clock_offset_most_ms(&server->clock) + PRESENCE_LEASE_MS / 2;
    return until_ms > 0 ? (uint64_t)until_ms : 0;
}

bool desk_is_answer(const struct call *call, const struct redisReply *reply, size_t numbers)
{
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements < numbers)
        return false;
    for (size_t i = 0; i < numbers; i++)
        if (reply->element[i]->type != REDIS_REPLY_INTEGER)
            return false;
    clock_offset_note(&call->server->clock, call->command.sent_ns, clock_monotonic_ns(),
                      reply->element[numbers - 1]->integer);
    return true;
}

static struct redis_room *redis_room_of(struct roster_room *room)
{
    return container_of(room, struct redis_room, super);
}

/* Telling Redis. */

static void room_ask(struct redis_room *room);

struct room_call {
    struct call call;
    struct redis_room *room; /* held */
};

/* The arguments of a call, and what they are made of. */
struct room_words {
    struct text words[6 + 6 * ROOM_BATCH];
    unsigned count;
    unsigned members;
    char lease[ROOM_LEASE_NAME_MAX];
    char before[ROOM_LEASE_NAME_MAX];
    char numbers[3 + ROOM_BATCH][21];
};

static void room_add_word(struct room_words *words, struct text word)
{
    words->words[words->count++] = word;
}

static void room_add_member(struct room_words *words, const struct roster_member *member)
{
    char *number = words->numbers[3 + words->members++];
    const struct text since = call_number(number, (uint64_t)member->since_ms);
    room_add_word(words, text_of(member->is_gone ? "-" : "+"));
    room_add_word(words, persona_name(member->persona));
    room_add_word(words, since);
    room_add_word(words, since);
    room_add_word(words, presence_transport(member->transport));
    room_add_word(words, persona_info(member->persona));
}

/* Who is here, under a lease that knows nobody yet. Those who have gone are told of behind them: some may
 * have been told under this lease before they went. */
static void room_add_all(struct redis_room *room, struct room_words *words)
{
    struct roster_member *member = NULL;
    while (words->members < ROOM_BATCH &&
           (member = roster_next_member(&room->super, room->at, room->at[0] == '\0'))) {
        room_add_member(words, member);
        if (!list_is_empty(&member->link))
            roster_told(member);
    }
    room->is_telling_all = member != NULL;
}

static bool room_wants_lease(const struct redis_room *room)
{
    return room->super.traits.has_presence &&
           (room->super.count > 0 || room->super.anonymous > 0 || roster_first_changed(&room->super));
}

/* Once nobody is connected here any more the people stay for the grace only, whatever becomes of this node.
 */
static uint64_t room_lease_ms(const struct redis_room *room)
{
    uint64_t grace_ms = room->super.traits.grace_ms + 1000;
    return room->super.connections > 0 || grace_ms > PRESENCE_LEASE_MS ? PRESENCE_LEASE_MS : grace_ms;
}

static void room_write_lease(char to[ROOM_LEASE_NAME_MAX], const struct redis_room *room, uint64_t number)
{
    to[0] = '\0';
    if (number > 0)
        snprintf(to, ROOM_LEASE_NAME_MAX, "%s.%llu", desk_broker(room->super.roster)->node,
                 (unsigned long long)number);
}

static void room_list_words(struct redis_room *room, const struct redis_server *server,
                            struct room_words *words)
{
    struct presence_desk *desk = container_of(room->super.roster, struct presence_desk, roster);
    bool has_lease = room_wants_lease(room) || room->is_known;
    bool is_new = has_lease && !room->is_known;
    if (is_new) {
        room->number = ++desk->leases;
        room->is_telling_all = true;
        room->at[0] = '\0';
    }
    words->count = 0;
    words->members = 0;
    room_write_lease(words->lease, room, has_lease ? room->number : 0);
    bool is_last = has_lease && !room->is_telling_all;
    room_add_word(words, text_of(words->lease));
    room_add_word(words, call_number(words->numbers[0], room_lease_ms(room)));
    room_add_word(words, call_number(words->numbers[1], room->super.anonymous));
    room_add_word(words, text_of(is_new ? "1" : "0"));
    room_write_lease(words->before, room, is_last ? room->before : 0);
    if (is_last)
        room->before = 0;
    room_add_word(words, text_of(words->before));
    room_add_word(words, call_number(words->numbers[2], desk_sweep_until(server)));
    if (has_lease && room->is_telling_all)
        room_add_all(room, words);
    struct roster_member *member;
    while (has_lease && !room->is_telling_all && words->members < ROOM_BATCH &&
           (member = roster_first_changed(&room->super))) {
        room_add_member(words, member);
        if (!member->is_gone) {
            roster_told(member);
            continue;
        }
        list_remove(&member->link);
        list_append(&room->leaving, &member->link);
    }
}

/* Names stand in the call until it is formatted. */
static void room_drop_leaving(struct redis_room *room)
{
    list_drain (link, &room->leaving)
        roster_told(container_of(link, struct roster_member, link));
}

/* What Redis has of this lease is not known any more: another one takes its place. */
static void room_lose_lease(struct redis_room *room)
{
    if (room->is_known)
        room->before = room->number;
    room->is_known = false;
}

/* Where presence was turned off, what Redis does not know is told to nobody. */
static void room_forget_changes(struct redis_room *room)
{
    struct roster_member *member;
    while (!room->super.traits.has_presence && !room->is_known &&
           (member = roster_first_changed(&room->super)))
        roster_told(member);
}

static void room_arm(struct redis_room *room, uint64_t in_ms)
{
    struct redis_broker *broker = desk_broker(room->super.roster);
    timer_arm(&broker->wheel, &room->timer, broker->now_ms + in_ms);
}

static void room_take_answer(struct redis_room *room, const struct call *call, const struct redisReply *reply)
{
    if (!desk_is_answer(call, reply, 3)) {
        (void)call_error(call, reply); /* the operator is told */
        room_lose_lease(room);
        room_arm(room, ROOM_RETRY_MS);
        return;
    }
    long long wait_ms = reply->element[1]->integer;
    if (reply->element[0]->integer != 1)
        room_lose_lease(room);
    room_forget_changes(room);
    bool has_more = room->is_telling_all || room->must_ask || roster_first_changed(&room->super) ||
                    room->had_lease != room->is_known || (room->is_known && room->before > 0);
    if (has_more)
        room_ask(room);
    else
        room_arm(room, wait_ms > 0 && wait_ms < PRESENCE_RENEW_MS ? (uint64_t)wait_ms : PRESENCE_RENEW_MS);
}

static void room_answered(struct call *call, const struct redisReply *reply)
{
    struct room_call *asked = container_of(call, struct room_call, call);
    struct redis_room *room = asked->room;
    room->is_asked = false;
    room_take_answer(room, call, reply);
    call_deinit(call);
    free(asked);
    roster_release(&room->super);
}

/* One call at a time for each room: what changes meanwhile goes with the next. */
static void room_ask(struct redis_room *room)
{
    struct redis_broker *broker = desk_broker(room->super.roster);
    struct room_words words;
    room->must_ask = true;
    if (room->is_asked)
        return;
    const struct redis_server *server = call_find_server(broker, room->slot);
    struct room_call *asked = server ? calloc(1, sizeof(*asked)) : NULL;
    if (!asked) {
        room_lose_lease(room);
        room_arm(room, ROOM_RETRY_MS);
        return;
    }
    room_list_words(room, server, &words);
    enum error_code error =
        call_prepare(&asked->call, broker, "presence", (struct text){room->super.name, room->super.name_len},
                     NULL, words.words, words.count, room_answered);
    room_drop_leaving(room);
    if (error != ERROR_NONE) {
        free(asked);
        room_lose_lease(room);
        room_arm(room, ROOM_RETRY_MS);
        return;
    }
    room->had_lease = words.lease[0] != '\0';
    room->is_known = room->had_lease;
    room->must_ask = false;
    room->is_asked = true;
    room->super.holds++;
    asked->room = room;
    call_submit(&asked->call);
}

/* Whether presence of the room is told to somebody here. */
static bool room_has_readers(const struct redis_room *room)
{
    char name[CHANNEL_NAME_MAX];
    const struct text channel = {room->super.name, room->super.name_len};
    size_t len = channel_name_make_presence(name, channel);
    return len > 0 && topic_find(desk_broker(room->super.roster), (struct text){name, len});
}

static void room_due(struct timer *timer)
{
    struct redis_room *room = container_of(timer, struct redis_room, timer);
    bool is_left = room->is_following && !room_has_readers(room);
    room->super.holds++;
    room_forget_changes(room);
    if (room_wants_lease(room) || (room->is_following && !is_left))
        room_ask(room);
    if (is_left) {
        room->is_following = false;
        room->super.holds--;
    }
    roster_release(&room->super);
}

/* Rooms. */

static void room_resolve(const struct roster *roster, struct text name, struct roster_traits *traits)
{
    struct channel_options found;
    channel_options_resolve(&found, desk_broker(roster)->options, name);
    *traits = (struct roster_traits){found.presence, found.events, found.presence_grace_ms};
}

static void room_begun(struct roster_room *super)
{
    struct redis_room *room = redis_room_of(super);
    room->slot = call_slot(super->name, super->name_len);
    list_init(&room->leaving);
    list_init(&room->occupancy_link);
    timer_init(&room->timer, room_due);
}

static void room_ended(struct roster_room *super)
{
    timer_stop(super->roster->wheel, &redis_room_of(super)->timer);
}

static void room_changed(struct roster_room *super)
{
    struct redis_room *room = redis_room_of(super);
    room_forget_changes(room);
    if (roster_first_changed(super) && !room->is_asked)
        room_ask(room);
}

static void room_occupancy_changed(struct roster_room *super)
{
    occupancy_note(redis_room_of(super));
}

static const struct roster_ops redis_roster_ops = {
    .resolve = room_resolve,
    .begun = room_begun,
    .ended = room_ended,
    .changed = room_changed,
    .occupied = room_occupancy_changed,
    .vacated = room_occupancy_changed,
};

/* Servers. */

static void desk_server_up(struct resident *resident, struct redis_server *server)
{
    struct redis_broker *broker = resident->broker;
    char name[CHANNEL_NAME_MAX + 1] = "";
    struct roster_room *super;
    for (bool is_first = true; (super = roster_next_room(&broker->presence->roster, name, is_first));
         is_first = false) {
        struct redis_room *room = redis_room_of(super);
        if (broker->slots[room->slot] != server)
            continue;
        room_lose_lease(room);
        if (!room->is_asked && (room_wants_lease(room) || room->is_following))
            room_ask(room);
    }
    occupancy_begin_again(broker->presence);
}

static void desk_server_lost(struct resident *resident)
{
    (void)resident; /* it lives nowhere */
}

static void desk_ended(struct resident *resident)
{
    resident_deinit(resident);
}

static const struct resident_ops desk_resident_ops = {
    .up = desk_server_up,
    .lost = desk_server_lost,
    .ended = desk_ended,
};

/* Requests. */

void presence_apply(struct redis_broker *broker, struct presence_request *request)
{
    struct presence_desk *desk = broker->presence;
    enum error_code error = roster_apply(&desk->roster, request);
    struct roster_room *super = roster_find(&desk->roster, request->channel);
    /* Members ask by themselves; how many there are besides, and that nobody is left, goes along. */
    if (super && super->traits.has_presence && (!request->member || super->connections == 0))
        room_ask(redis_room_of(super));
    broker_answer(&request->super, error);
}

void presence_follow(struct redis_broker *broker, struct text channel)
{
    const struct text name = channel_name_of_presence(channel);
    if (!name.bytes || !channel_has_presence(broker->options, name))
        return;
    struct roster_room *super = roster_hold(&broker->presence->roster, name);
    if (!super)
        return;
    struct redis_room *room = redis_room_of(super);
    bool was_following = room->is_following;
    room->is_following = true;
    if (was_following)
        roster_release(super);
    else
        room_ask(room);
}

struct list_call {
    struct call call;
    struct roster_request *request;
};

static bool list_add_member(struct roster_request *request, struct redisReply *const *values)
{
    char fault[JSON_FAULT_MAX];
    struct text texts[5];
    uint64_t since_ms;
    for (unsigned i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (values[i]->type != REDIS_REPLY_STRING)
            return false;
        texts[i] = (struct text){values[i]->str, values[i]->len};
    }
    if (texts[0].len == 0 || !message_attribute_is_valid(texts[0]) || !message_attribute_is_valid(texts[2]) ||
        !message_attribute_is_valid(texts[3]) || number_parse_u64(&since_ms, texts[1].bytes, texts[1].len) ||
        (texts[4].len > 0 && json_scan(&texts[4], texts[4].bytes, texts[4].len, fault)))
        return false;
    buf_append_text(&request->members, request->members.len > 0 ? ",\n" : "");
    presence_append_member(&request->members, &(const struct presence_member){.name = texts[0],
                                                                              .since_ms = (int64_t)since_ms,
                                                                              .node = texts[2],
                                                                              .transport = texts[3],
                                                                              .info = texts[4]});
    return true;
}

/* Behind which name it goes on, also where nobody of the page is there any more. */
static void list_read_next(struct roster_request *request, const struct redisReply *next)
{
    const struct text name = {next->str, next->len};
    request->has_more = next->type == REDIS_REPLY_STRING && name.len > 0 && message_attribute_is_valid(name);
    if (!request->has_more)
        return;
    memcpy(request->last, name.bytes, name.len);
    request->last[name.len] = '\0';
}

static enum error_code list_read(struct roster_request *request, const struct call *call,
                                 const struct redisReply *reply)
{
    if (!desk_is_answer(call, reply, 3) || reply->elements % 5 != 4 || reply->element[0]->integer < 0 ||
        reply->element[1]->integer < 0)
        return call_error(call, reply);
    request->count = (uint64_t)reply->element[0]->integer;
    request->anonymous = (uint64_t)reply->element[1]->integer;
    for (size_t i = 4; i < reply->elements; i += 5)
        (void)list_add_member(request, &reply->element[i]); /* what others have written there is left out */
    list_read_next(request, reply->element[3]);
    return request->members.has_failed ? ERROR_OUT_OF_MEMORY : ERROR_NONE;
}

static void list_answered(struct call *call, const struct redisReply *reply)
{
    struct list_call *asked = container_of(call, struct list_call, call);
    struct roster_request *request = asked->request;
    enum error_code error = list_read(request, call, reply);
    call_deinit(call);
    free(asked);
    broker_answer(&request->super, error);
}

void presence_list(struct redis_broker *broker, struct roster_request *request)
{
    char limit[21];
    char bytes[21];
    char until[21];
    const struct redis_server *server =
        call_find_server(broker, call_slot(request->channel, strlen(request->channel)));
    const struct text arguments[] = {text_of(request->after), call_number(limit, request->limit),
                                     call_number(bytes, PRESENCE_LIST_BYTES),
                                     call_number(until, server ? desk_sweep_until(server) : 0)};
    struct list_call *asked = calloc(1, sizeof(*asked));
    enum error_code error = asked ? call_prepare(&asked->call, broker, "roster", text_of(request->channel),
                                                 NULL, arguments, ARRAY_LENGTH(arguments), list_answered)
                                  : ERROR_OUT_OF_MEMORY;
    if (error != ERROR_NONE) {
        free(asked);
        broker_answer(&request->super, error);
        return;
    }
    asked->request = request;
    call_submit(&asked->call);
}

/* Events. */

/* Whether this node's options tell events of the channel that such an event names. */
static bool event_is_wanted(const struct topic *topic, struct text json)
{
    static const char before[] = "{\"channel\":\"";
    struct channel_options found;
    if (channel_name_of_presence(topic_name(topic)).bytes)
        return true;
    if (json.len < sizeof(before) + 2 || memcmp(json.bytes, before, sizeof(before) - 1) != 0)
        return false;
    const struct text name = {json.bytes + sizeof(before) - 1, json.len - (sizeof(before) - 1) - 2};
    if (!channel_name_is_valid(name.bytes, name.len) || channel_name_is_reserved(name))
        return false;
    channel_options_resolve(&found, topic->broker->options, name);
    return found.events;
}

/* Where there is no memory for it nobody is told. */
static void event_tell(const struct topic *topic, const struct presence_event *event)
{
    struct message *message = message_new(&(const struct message_parts){.type = MESSAGE_JSON,
                                                                        .data = event->json.bytes,
                                                                        .size = event->json.len,
                                                                        .event = event->word,
                                                                        .is_transient = true});
    if (!message)
        return;
    message->offset = topic->log.top;
    message->time_ms = event->time_ms;
    (void)broker_feed(&topic->attachments, &(const struct feed){.message = message});
    message_unref(message);
}

bool presence_receive(struct topic *topic, const char *bytes, size_t len)
{
    struct presence_event event;
    int err = presence_event_parse(&event, bytes, len);
    if (!err && topic->has_log && channel_name_is_reserved(topic_name(topic)) &&
        event_is_wanted(topic, event.json))
        event_tell(topic, &event);
    return err != -ENOENT;
}

/* The desk. */

void presence_renew(struct redis_broker *broker)
{
    if (broker->presence)
        broker->presence->roster.generation++;
}

int presence_init(struct redis_broker *broker)
{
    struct presence_desk *desk = calloc(1, sizeof(*desk));
    if (!desk)
        return -ENOMEM;
    broker->presence = desk;
    desk->broker = broker;
    roster_init(&desk->roster, &redis_roster_ops, &broker->wheel, &broker->now_ms, sizeof(struct redis_room));
    occupancy_init(desk);
    resident_init(&desk->resident, &desk_resident_ops, broker);
    desk->chronicle = chronicle_new(desk);
    return desk->chronicle ? 0 : -ENOMEM;
}

void presence_deinit(struct redis_broker *broker)
{
    if (!broker->presence)
        return;
    occupancy_deinit(broker->presence);
    chronicle_free(broker->presence->chronicle);
    roster_deinit(&broker->presence->roster);
    resident_deinit(&broker->presence->resident);
    free(broker->presence);
    broker->presence = NULL;
}
