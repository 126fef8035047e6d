/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "broker/memory/estate.h"

static int estate_refuse(const char *what, char fault[ESTATE_FAULT_MAX])
{
    snprintf(fault, ESTATE_FAULT_MAX, "%s", what);
    return -EINVAL;
}

static int estate_lack_memory(char fault[ESTATE_FAULT_MAX])
{
    snprintf(fault, ESTATE_FAULT_MAX, "no memory");
    return -ENOMEM;
}

static int estate_take_head(struct estate_taker *taker, const struct handover *record,
                            char fault[ESTATE_FAULT_MAX])
{
    if (taker->has_head)
        return estate_refuse("it begins twice", fault);
    if (record->numbers[0] != HANDOVER_VERSION) {
        snprintf(fault, ESTATE_FAULT_MAX, "%.*s tells it in version %" PRIu64 ", of which this one knows %u",
                 (int)(record->texts[0].len < 64 ? record->texts[0].len : 64), record->texts[0].bytes,
                 record->numbers[0], HANDOVER_VERSION);
        return -EPROTONOSUPPORT;
    }
    taker->has_head = true;
    return 0;
}

/* Its messages and keys are there. */
static void estate_finish_log(struct estate_taker *taker)
{
    if (taker->log)
        log_restored(taker->log);
    taker->log = NULL;
}

static int estate_take_log(struct estate_taker *taker, const struct estate *estate,
                           const struct handover *record, char fault[ESTATE_FAULT_MAX])
{
    const struct text name = record->texts[0];
    struct epoch epoch;
    estate_finish_log(taker);
    if (!channel_name_is_valid(name.bytes, name.len) || store_find(estate->store, name.bytes, name.len))
        return estate_refuse("a log has no name of its own", fault);
    if (record->numbers[0] > INT64_MAX || record->texts[1].len != EPOCH_LEN ||
        epoch_parse(&epoch, record->texts[1].bytes))
        return estate_refuse("a log has no epoch", fault);
    struct log *log = store_get(estate->store, name.bytes, name.len);
    if (!log)
        return estate_lack_memory(fault);
    log->epoch = epoch;
    log->top = record->numbers[0];
    log->last_published_ms = (int64_t)record->numbers[1];
    uint64_t idle_ms = record->numbers[2];
    uint64_t now_ms = estate->store->now_ms;
    log->idle_since_ms = idle_ms < now_ms ? now_ms - idle_ms : 0;
    taker->log = log;
    taker->log_count++;
    return 0;
}

static int estate_remember(struct estate_taker *taker, struct message *message)
{
    if (taker->message_count == taker->message_capacity) {
        size_t capacity = taker->message_capacity > 0 ? 2 * taker->message_capacity : 1024;
        void *messages = realloc(taker->messages, capacity * sizeof(*taker->messages));
        if (!messages)
            return -ENOMEM;
        taker->messages = messages;
        taker->message_capacity = capacity;
    }
    taker->messages[taker->message_count++] = message_ref(message);
    return 0;
}

/* Takes the reference. */
static int estate_place(struct estate_taker *taker, struct message *message, uint64_t offset,
                        uint64_t left_ms, char fault[ESTATE_FAULT_MAX])
{
    int err = log_restore(taker->log, message, offset, left_ms);
    if (!err) {
        taker->place_count++;
        return 0;
    }
    message_unref(message);
    return err == -EINVAL ? estate_refuse("a message has an offset that is not its own", fault)
                          : estate_lack_memory(fault);
}

static bool estate_is_message(const struct handover *record)
{
    bool is_good = record->numbers[4] <= MESSAGE_BINARY && record->texts[0].len <= MESSAGE_SIZE_MAX;
    for (unsigned i = 1; is_good && i < HANDOVER_TEXTS; i++)
        is_good = message_attribute_is_valid(record->texts[i]);
    return is_good;
}

static int estate_take_message(struct estate_taker *taker, const struct handover *record,
                               char fault[ESTATE_FAULT_MAX])
{
    if (!taker->log || !estate_is_message(record))
        return estate_refuse("a message is none", fault);
    struct message *message = message_new(&(const struct message_parts){
        .type = (enum message_type)record->numbers[4],
        .data = record->texts[0].bytes,
        .size = record->texts[0].len,
        .event = record->texts[1],
        .producer = record->texts[2],
        .mime = record->texts[3],
        .key = record->texts[4],
        .ttl_ms = record->numbers[2],
    });
    if (!message || estate_remember(taker, message)) {
        message_unref(message);
        return estate_lack_memory(fault);
    }
    message->time_ms = (int64_t)record->numbers[1];
    if (record->numbers[0] > 0)
        return estate_place(taker, message, record->numbers[0], record->numbers[3], fault);
    message_unref(message);
    return 0;
}

static int estate_take_entry(struct estate_taker *taker, const struct handover *record,
                             char fault[ESTATE_FAULT_MAX])
{
    const struct text channel = record->texts[0];
    if (!taker->log || record->numbers[0] >= taker->message_count ||
        !channel_name_is_valid(channel.bytes, channel.len))
        return estate_refuse("an entry of a tree stands for nothing", fault);
    struct message *entry = message_new_entry(taker->messages[record->numbers[0]], channel);
    return entry ? estate_place(taker, entry, record->numbers[1], record->numbers[2], fault)
                 : estate_lack_memory(fault);
}

static int estate_take_place(struct estate_taker *taker, const struct handover *record,
                             char fault[ESTATE_FAULT_MAX])
{
    if (!taker->log || record->numbers[0] >= taker->message_count ||
        taker->messages[record->numbers[0]]->offset > 0)
        return estate_refuse("a message has two places", fault);
    return estate_place(taker, message_ref(taker->messages[record->numbers[0]]), record->numbers[1],
                        record->numbers[2], fault);
}

static int estate_take_key(struct estate_taker *taker, const struct handover *record,
                           char fault[ESTATE_FAULT_MAX])
{
    if (!taker->log || record->texts[0].len == 0 || !message_attribute_is_valid(record->texts[0]))
        return estate_refuse("an idempotency key is none", fault);
    int err = log_restore_key(taker->log, record->texts[0], record->numbers[0], (int64_t)record->numbers[1],
                              record->numbers[2]);
    return err ? estate_lack_memory(fault) : 0;
}

static int estate_take_revocation(const struct estate *estate, const struct handover *record,
                                  char fault[ESTATE_FAULT_MAX])
{
    struct revocation revocation;
    if (revocation_parse(&revocation, record->texts[0]))
        return estate_refuse("a revocation is none", fault);
    if (memory_revocations_add(estate->revocations, &revocation, clock_wall_ms()) ||
        revocation_listeners_tell(estate->listeners, &revocation))
        return estate_lack_memory(fault);
    return 0;
}

static int estate_take_room(struct estate_taker *taker, const struct estate *estate,
                            const struct handover *record, char fault[ESTATE_FAULT_MAX])
{
    const struct text name = record->texts[0];
    if (!channel_name_is_valid(name.bytes, name.len) || roster_find(estate->roster, name))
        return estate_refuse("a room has no name of its own", fault);
    taker->away_ms = record->numbers[1];
    taker->room = roster_expect_room(estate->roster, name, record->numbers[0] != 0, taker->away_ms);
    return taker->room ? 0 : estate_lack_memory(fault);
}

static int estate_take_member(const struct estate_taker *taker, const struct handover *record,
                              char fault[ESTATE_FAULT_MAX])
{
    struct text info = record->texts[1].len > 0 ? record->texts[1] : (struct text){0};
    char why[PERSONA_FAULT_MAX];
    if (!taker->room || !record->texts[0].len || record->numbers[1] > UINT8_MAX ||
        persona_check(record->texts[0], &info, why) != ERROR_NONE)
        return estate_refuse("somebody who is present is nobody", fault);
    struct persona *persona = persona_new(record->texts[0], info);
    int err = persona
                  ? roster_expect(taker->room, persona,
                                  &(const struct roster_expected){.since_ms = (int64_t)record->numbers[0],
                                                                  .transport = (uint8_t)record->numbers[1],
                                                                  .is_told = record->numbers[2] != 0,
                                                                  .away_ms = taker->away_ms})
                  : -ENOMEM;
    persona_unref(persona);
    return err ? estate_lack_memory(fault) : 0;
}

static int estate_take_end(struct estate_taker *taker, const struct estate *estate,
                           const struct handover *record, char fault[ESTATE_FAULT_MAX])
{
    estate_finish_log(taker);
    if (record->numbers[0] != taker->log_count || record->numbers[1] != taker->place_count)
        return estate_refuse("something is missing", fault);
    store_sort_idle(estate->store);
    taker->is_whole = true;
    return 0;
}

int estate_take(struct estate_taker *taker, const struct estate *estate, const struct handover *record,
                char fault[ESTATE_FAULT_MAX])
{
    if (record->kind != HANDOVER_HEAD && (!taker->has_head || taker->is_whole))
        return estate_refuse("it does not begin with its head, or goes on behind its end", fault);
    switch (record->kind) {
    case HANDOVER_HEAD:
        return estate_take_head(taker, record, fault);
    case HANDOVER_LOG:
        return estate_take_log(taker, estate, record, fault);
    case HANDOVER_MESSAGE:
        return estate_take_message(taker, record, fault);
    case HANDOVER_ENTRY:
        return estate_take_entry(taker, record, fault);
    case HANDOVER_PLACE:
        return estate_take_place(taker, record, fault);
    case HANDOVER_KEY:
        return estate_take_key(taker, record, fault);
    case HANDOVER_REVOCATION:
        return estate_take_revocation(estate, record, fault);
    case HANDOVER_ROOM:
        return estate_take_room(taker, estate, record, fault);
    case HANDOVER_MEMBER:
        return estate_take_member(taker, record, fault);
    case HANDOVER_END:
        return estate_take_end(taker, estate, record, fault);
    case HANDOVER_SOCKET:
    case HANDOVER_SOCKETS:
    case HANDOVER_GO:
    case HANDOVER_READY:
    case HANDOVER_LOADED:
    case HANDOVER_CLIENT:
    case HANDOVER_KINDS:
        break;
    }
    return estate_refuse("it has something in it that belongs elsewhere", fault);
}

void estate_taker_deinit(struct estate_taker *taker)
{
    estate_finish_log(taker);
    while (taker->message_count > 0)
        message_unref(taker->messages[--taker->message_count]);
    free(taker->messages);
    taker->messages = NULL;
}

void estate_forget(const struct estate *estate)
{
    char name[CHANNEL_NAME_MAX + 1] = "";
    struct log *log;
    while ((log = store_next(estate->store, name, true)))
        store_drop(log);
    roster_deinit(estate->roster);
}
