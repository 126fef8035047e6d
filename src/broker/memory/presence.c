/* SPDX-License-Identifier: MIT */
#include "broker/memory/presence.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "broker/memory/log.h"
#include "broker/memory/store.h"
#include "config/channel_options.h"
#include "core/presence.h"

struct memory_room {
    struct roster_room super;
    struct timer flush; /* when what has changed may be told */
    uint64_t next_ms;   /* not before this */
};

static struct memory_room *memory_room_of(struct roster_room *room)
{
    return container_of(room, struct memory_room, super);
}

static struct memory_presence *presence_of(const struct roster *roster)
{
    return container_of(roster, struct memory_presence, roster);
}

/* Telling. */

/* The log of a reserved name that somebody listens to; NULL when nobody does. */
static struct log *presence_find_readers(const struct memory_presence *presence, const char *name, size_t len)
{
    struct log *log = len > 0 ? store_find(presence->store, name, len) : NULL;
    return log && log->attachments.count > 0 ? log : NULL;
}

static void presence_feed(struct log *log, struct message *message)
{
    const struct feed feed = {.message = message};
    struct letter *letters;
    if (broker_reserve_feeds(&letters, &log->attachments, &feed))
        return;
    message->time_ms = clock_wall_ms();
    message->offset = log->top;
    broker_post_feeds(letters, &log->attachments, &feed);
}

/* What there is no memory for nobody is told. */
static void presence_signal(struct log *log, const char *event, const struct buf *json)
{
    struct message *message = message_new(&(const struct message_parts){
        .type = MESSAGE_JSON,
        .data = json->bytes,
        .size = json->len,
        .event = text_of(event),
        .is_transient = true,
    });
    if (!message)
        return;
    presence_feed(log, message);
    message_unref(message);
}

static void presence_tell_on(struct log *log, struct text channel, const char *event)
{
    struct buf json = {0};
    buf_append_text(&json, "{\"channel\":\"");
    buf_append(&json, channel.bytes, channel.len); /* no name has what would have to be escaped */
    buf_append_text(&json, "\"}");
    if (!json.has_failed)
        presence_signal(log, event, &json);
    buf_deinit(&json);
}

void memory_presence_tell(struct memory_presence *presence, struct text channel, const char *event)
{
    char name[CHANNEL_NAME_MAX];
    struct channel_options found;
    struct log *const logs[] = {
        presence_find_readers(presence, name, channel_name_make_events(name, channel)),
        presence_find_readers(presence, CHANNEL_EVENTS, strlen(CHANNEL_EVENTS)),
    };
    if (presence->is_frozen || (!logs[0] && !logs[1]) || channel_name_is_reserved(channel))
        return;
    channel_options_resolve(&found, *presence->options, channel);
    for (unsigned i = 0; i < ARRAY_LENGTH(logs) && found.events; i++)
        if (logs[i])
            presence_tell_on(logs[i], channel, event);
}

enum presence_event { EVENT_JOIN, EVENT_LEAVE, EVENT_UPDATE, EVENT_COUNT };

static void presence_append(struct buf *to, const struct memory_presence *presence,
                            const struct roster_member *member)
{
    presence_append_member(to, &(const struct presence_member){
                                   .name = persona_name(member->persona),
                                   .info = persona_info(member->persona),
                                   .since_ms = member->since_ms,
                                   .node = {presence->node, MEMORY_NODE_LEN},
                                   .transport = presence_transport(member->transport),
                               });
}

/* Collects what has changed, as far as a message goes, and tells it. Each member is told of once, as it is
 * now. Returns how many messages that were. */
static unsigned room_tell(struct roster_room *room, struct log *log)
{
    static const char *const words[EVENT_COUNT] = {"join", "leave", "update"};
    const struct memory_presence *presence = presence_of(room->roster);
    struct buf texts[EVENT_COUNT] = {0};
    struct roster_member *member;
    size_t bytes = 0;
    unsigned told = 0;
    while (bytes < PRESENCE_EVENT_BYTES && (member = roster_first_changed(room))) {
        struct buf *text = &texts[member->is_gone   ? EVENT_LEAVE
                                  : member->is_told ? EVENT_UPDATE
                                                    : EVENT_JOIN];
        size_t before = text->len;
        buf_append_text(text, before > 0 ? "," : "{\"members\":[");
        if (member->is_gone)
            presence_append_name(text, persona_name(member->persona));
        else
            presence_append(text, presence, member);
        bytes += text->len - before;
        roster_told(member);
    }
    for (unsigned i = 0; i < EVENT_COUNT; i++) {
        buf_append_text(&texts[i], texts[i].len > 0 ? "]}" : "");
        if (texts[i].len > 0 && !texts[i].has_failed) {
            presence_signal(log, words[i], &texts[i]);
            told++;
        }
        buf_deinit(&texts[i]);
    }
    return told;
}

/* Where nobody listens it is told at once, to nobody. */
static void room_flush(struct roster_room *room)
{
    struct memory_room *memory = memory_room_of(room);
    struct store *store = presence_of(room->roster)->store;
    char name[CHANNEL_NAME_MAX];
    const struct text channel = {room->name, room->name_len};
    struct log *log =
        presence_find_readers(presence_of(room->roster), name, channel_name_make_presence(name, channel));
    struct roster_member *member;
    bool is_frozen = presence_of(room->roster)->is_frozen;
    if (!is_frozen && log && store->now_ms >= memory->next_ms)
        memory->next_ms = store->now_ms + (uint64_t)room_tell(room, log) * PRESENCE_PACE_MS;
    while (!is_frozen && !log && (member = roster_first_changed(room)))
        roster_told(member);
    if (roster_first_changed(room) && !timer_is_armed(&memory->flush))
        timer_arm(&store->wheel, &memory->flush, memory->next_ms);
}

static void room_flush_due(struct timer *timer)
{
    struct roster_room *room = &container_of(timer, struct memory_room, flush)->super;
    room_flush(room);
    roster_settle(room);
}

/* Rooms. */

static void room_resolve(const struct roster *roster, struct text name, struct roster_traits *traits)
{
    struct channel_options found;
    channel_options_resolve(&found, *presence_of(roster)->options, name);
    *traits = (struct roster_traits){found.presence, found.events, found.presence_grace_ms};
}

static void room_begun(struct roster_room *room)
{
    timer_init(&memory_room_of(room)->flush, room_flush_due);
}

static void room_ended(struct roster_room *room)
{
    timer_stop(room->roster->wheel, &memory_room_of(room)->flush);
}

static void room_occupied(struct roster_room *room)
{
    memory_presence_tell(presence_of(room->roster), (struct text){room->name, room->name_len}, "occupied");
}

static void room_vacated(struct roster_room *room)
{
    if (!room->is_known_occupied)
        return;
    memory_presence_tell(presence_of(room->roster), (struct text){room->name, room->name_len}, "vacated");
}

static const struct roster_ops memory_roster_ops = {
    .resolve = room_resolve,
    .begun = room_begun,
    .ended = room_ended,
    .changed = room_flush,
    .occupied = room_occupied,
    .vacated = room_vacated,
};

/* Requests. */

enum error_code memory_presence_apply(struct memory_presence *presence, struct presence_request *request)
{
    return roster_apply(&presence->roster, request);
}

enum error_code memory_presence_list(const struct memory_presence *presence, struct roster_request *request)
{
    char name[PERSONA_NAME_MAX + 1];
    const struct roster_room *room = roster_find(&presence->roster, text_of(request->channel));
    if (!room)
        return ERROR_NONE;
    bool is_first = request->after[0] == '\0';
    struct roster_member *member;
    strcpy(name, request->after);
    request->count = room->count;
    request->anonymous = room->anonymous;
    for (size_t i = 0; (member = roster_next_member(room, name, is_first)); i++, is_first = false) {
        request->has_more = i == request->limit || request->members.len > PRESENCE_LIST_BYTES;
        if (request->has_more)
            break;
        buf_append_text(&request->members, i > 0 ? ",\n" : "");
        presence_append(&request->members, presence, member);
        strcpy(request->last, name);
    }
    return request->members.has_failed ? ERROR_OUT_OF_MEMORY : ERROR_NONE;
}

void memory_presence_renew(struct memory_presence *presence)
{
    presence->roster.generation++;
}

void memory_presence_init(struct memory_presence *presence, struct store *store,
                          struct options *const *options)
{
    presence->store = store;
    presence->options = options;
    random_word(presence->node, MEMORY_NODE_LEN);
    roster_init(&presence->roster, &memory_roster_ops, &store->wheel, &store->now_ms,
                sizeof(struct memory_room));
}

void memory_presence_deinit(struct memory_presence *presence)
{
    roster_deinit(&presence->roster);
}
