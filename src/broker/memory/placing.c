/* SPDX-License-Identifier: MIT */
#include "broker/memory/placing.h"

#include <errno.h>

void placing_abandon(struct placing *placing)
{
    for (unsigned i = 0; i < placing->count; i++) {
        struct place_of *place = &placing->of[i];
        if (place->is_reserved)
            log_release(place->log);
        broker_release_feeds(place->letters);
        message_unref(place->message);
    }
}

/* A feed is large, and most logs of trees have nobody to be fed. */
static int placing_reserve_letters(struct place_of *place)
{
    const struct feed feed = {.message = place->message};
    return broker_reserve_feeds(&place->letters, &place->log->attachments, &feed);
}

static void placing_post_letters(const struct place_of *place)
{
    const struct feed feed = {.message = place->message};
    broker_post_feeds(place->letters, &place->log->attachments, &feed);
}

/* A single append may fail by itself. */
static int placing_prepare_one(const struct placing *placing, struct place_of *place)
{
    bool has_readers = place->log->attachments.count > 0;
    if (!place->message || (has_readers && placing_reserve_letters(place)))
        return -ENOMEM;
    if (placing->count == 1 || place->message->is_transient)
        return 0;
    place->is_reserved = log_reserve(place->log) == 0;
    return place->is_reserved ? 0 : -ENOMEM;
}

int placing_prepare(struct placing *placing, struct message *message)
{
    const struct log *channel = placing->of[0].log;
    const struct text name = {channel->name, channel->name_len};
    int err = 0;
    for (unsigned i = 0; i < placing->count; i++)
        placing->of[i] = (struct place_of){.log = placing->of[i].log};
    for (unsigned i = 0; !err && i < placing->count; i++) {
        struct place_of *place = &placing->of[i];
        place->message = i == 0 ? message_ref(message) : message_new_entry(message, name);
        err = placing_prepare_one(placing, place);
    }
    if (err)
        placing_abandon(placing);
    return err;
}

int placing_commit(struct placing *placing)
{
    for (unsigned i = 0; i < placing->count; i++) {
        struct place_of *place = &placing->of[i];
        if (place->message->is_transient) {
            place->message->offset = place->log->top;
            log_touch(place->log);
            continue;
        }
        /* Where nobody is told, the log takes over the reference that there is. */
        struct message *told = place->letters ? message_ref(place->message) : NULL;
        if (log_append(place->log, place->message)) {
            message_unref(told);
            placing_abandon(placing);
            return -ENOMEM;
        }
        place->message = told;
    }
    return 0;
}

void placing_tell(struct placing *placing)
{
    for (unsigned i = 0; i < placing->count; i++) {
        const struct place_of *place = &placing->of[i];
        if (place->letters)
            placing_post_letters(place);
        message_unref(place->message);
    }
}
