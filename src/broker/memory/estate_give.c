/* SPDX-License-Identifier: MIT */
#include <Judy.h>
#include <errno.h>

#include "broker/memory/estate.h"
#include "config.h"

static uint64_t estate_left_ms(const struct store *store, uint64_t expires_ms)
{
    return expires_ms > store->now_ms ? expires_ms - store->now_ms : 0;
}

static void estate_append_message(struct buf *to, const struct store *store, const struct message *message,
                                  bool is_in_log)
{
    handover_append(
        to, &(const struct handover){
                .kind = HANDOVER_MESSAGE,
                .numbers = {is_in_log ? message->offset : 0, (uint64_t)message->time_ms, message->ttl_ms,
                            estate_left_ms(store, message->expires_ms), message->type},
                .texts = {{message_data(message), message->size},
                          {message_event(message), message->event_len},
                          {message_producer(message), message->producer_len},
                          {message_producer(message) + message->producer_len, message->mime_len},
                          message_key(message)}});
}

/* The number of a message that is told. Returns NULL when memory is out; 0 is none yet. */
static PPvoid_t estate_place(struct estate_giver *giver, const struct message *message)
{
    PPvoid_t slot = JudyLIns(&giver->places, (Word_t)message, PJE0);
    return slot == PPJERR ? NULL : slot;
}

/* A message is told once: where its log has it, or before the first entry that stands for it. */
static int estate_give_message(struct estate_giver *giver, const struct store *store, struct buf *to,
                               const struct message *message)
{
    const struct message *told = message->origin ? message->origin : message;
    PPvoid_t slot = estate_place(giver, told);
    if (!slot)
        return -ENOMEM;
    bool is_new = !*slot;
    if (is_new) {
        *slot = (void *)(uintptr_t)++giver->message_count;
        estate_append_message(to, store, told, !message->origin);
    }
    giver->place_count++;
    if (is_new && !message->origin)
        return 0;
    handover_append(to, &(const struct handover){.kind = message->origin ? HANDOVER_ENTRY : HANDOVER_PLACE,
                                                 .numbers = {(uint64_t)(uintptr_t)*slot - 1, message->offset,
                                                             estate_left_ms(store, message->expires_ms)},
                                                 .texts = {message_channel(message)}});
    return 0;
}

static void estate_give_log(struct estate_giver *giver, const struct store *store, struct buf *to)
{
    const struct log *log = store_next(store, giver->name, !giver->has_begun);
    giver->has_begun = true;
    giver->log = log;
    giver->offset = 0;
    giver->step = log ? ESTATE_MESSAGES : ESTATE_REVOCATIONS;
    if (!log)
        return;
    giver->log_count++;
    handover_append(
        to, &(const struct handover){
                .kind = HANDOVER_LOG,
                .numbers = {log->top, (uint64_t)log->last_published_ms, store->now_ms - log->idle_since_ms},
                .texts = {{log->name, log->name_len}, {log->epoch.text, EPOCH_LEN}}});
}

static int estate_give_next_message(struct estate_giver *giver, const struct store *store, struct buf *to)
{
    const struct message *message = shelf_find(&giver->log->messages, giver->offset + 1);
    if (!message) {
        giver->step = ESTATE_KEYS;
        giver->key = &giver->log->keys_by_age;
        return 0;
    }
    giver->offset = message->offset;
    return estate_give_message(giver, store, to, message);
}

static void estate_give_key(struct estate_giver *giver, const struct store *store, struct buf *to)
{
    giver->key = giver->key->next;
    if (giver->key == &giver->log->keys_by_age) {
        giver->step = ESTATE_LOGS;
        return;
    }
    const struct publish_key *key = container_of(giver->key, const struct publish_key, link);
    handover_append(to, &(const struct handover){.kind = HANDOVER_KEY,
                                                 .numbers = {key->offset, (uint64_t)key->time_ms,
                                                             estate_left_ms(store, key->expires_ms)},
                                                 .texts = {{key->text, key->len}}});
}

static void estate_give_revocation(struct estate_giver *giver, const struct memory_revocations *revocations,
                                   struct buf *to)
{
    if (giver->revocation == revocations->count) {
        giver->step = ESTATE_ROOMS;
        giver->has_begun = false;
        giver->name[0] = '\0';
        return;
    }
    handover_append(
        to, &(const struct handover){.kind = HANDOVER_REVOCATION,
                                     .texts = {memory_revocations_form(revocations, giver->revocation++)}});
}

static void estate_give_room(struct estate_giver *giver, const struct roster *roster, struct buf *to)
{
    const struct roster_room *room = roster_next_room(roster, giver->name, !giver->has_begun);
    giver->has_begun = true;
    giver->room = room;
    giver->has_member = false;
    giver->member[0] = '\0';
    giver->step = room ? ESTATE_MEMBERS : ESTATE_END;
    if (room)
        handover_append(to, &(const struct handover){.kind = HANDOVER_ROOM,
                                                     .numbers = {room->is_occupied, giver->away_ms},
                                                     .texts = {{room->name, room->name_len}}});
}

/* Who has just gone, and is not told to have, is told to have when he does not come back there. */
static void estate_give_member(struct estate_giver *giver, struct buf *to)
{
    const struct roster_member *member = roster_next_known(giver->room, giver->member, !giver->has_member);
    giver->has_member = true;
    if (!member) {
        giver->step = ESTATE_ROOMS;
        return;
    }
    handover_append(to, &(const struct handover){
                            .kind = HANDOVER_MEMBER,
                            .numbers = {(uint64_t)member->since_ms, member->transport, member->is_told},
                            .texts = {persona_name(member->persona), persona_info(member->persona)}});
}

static int estate_give_step(struct estate_giver *giver, const struct estate *estate, struct buf *to)
{
    switch (giver->step) {
    case ESTATE_HEAD:
        handover_append(to, &(const struct handover){.kind = HANDOVER_HEAD,
                                                     .numbers = {HANDOVER_VERSION},
                                                     .texts = {text_of(PACKAGE_VERSION)}});
        giver->step = ESTATE_LOGS;
        break;
    case ESTATE_LOGS:
        estate_give_log(giver, estate->store, to);
        break;
    case ESTATE_MESSAGES:
        return estate_give_next_message(giver, estate->store, to);
    case ESTATE_KEYS:
        estate_give_key(giver, estate->store, to);
        break;
    case ESTATE_REVOCATIONS:
        estate_give_revocation(giver, estate->revocations, to);
        break;
    case ESTATE_ROOMS:
        estate_give_room(giver, estate->roster, to);
        break;
    case ESTATE_MEMBERS:
        estate_give_member(giver, to);
        break;
    case ESTATE_END:
        handover_append(to, &(const struct handover){.kind = HANDOVER_END,
                                                     .numbers = {giver->log_count, giver->place_count}});
        giver->step = ESTATE_TOLD;
        break;
    case ESTATE_TOLD:
        break;
    }
    return 0;
}

int estate_give(struct estate_giver *giver, const struct estate *estate, struct buf *to, size_t most)
{
    int err = 0;
    while (!err && !to->has_failed && to->len < most && giver->step != ESTATE_TOLD)
        err = estate_give_step(giver, estate, to);
    if (err || to->has_failed)
        return -ENOMEM;
    return giver->step != ESTATE_TOLD;
}

void estate_giver_init(struct estate_giver *giver, uint64_t away_ms)
{
    *giver = (struct estate_giver){.away_ms = away_ms};
}

void estate_giver_deinit(struct estate_giver *giver)
{
    (void)JudyLFreeArray(&giver->places, PJE0); /* nothing is kept in it */
}
