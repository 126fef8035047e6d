/* SPDX-License-Identifier: MIT */
#include "broker/redis/reading.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define READING_ELEMENTS 8u

int reading_parse(struct reading *reading, const struct redisReply *reply)
{
    static const int types[READING_ELEMENTS] = {REDIS_REPLY_STRING,  REDIS_REPLY_INTEGER, REDIS_REPLY_INTEGER,
                                                REDIS_REPLY_INTEGER, REDIS_REPLY_STRING,  REDIS_REPLY_INTEGER,
                                                REDIS_REPLY_INTEGER, REDIS_REPLY_ARRAY};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != READING_ELEMENTS)
        return -EINVAL;
    for (unsigned i = 0; i < READING_ELEMENTS; i++)
        if (reply->element[i]->type != types[i] ||
            (types[i] == REDIS_REPLY_INTEGER && reply->element[i]->integer < 0))
            return -EINVAL;
    if (reply->element[0]->len != EPOCH_LEN || epoch_parse(&reading->epoch, reply->element[0]->str))
        return -EINVAL;
    reading->top = (uint64_t)reply->element[1]->integer;
    reading->oldest = (uint64_t)reply->element[2]->integer;
    reading->now_ms = reply->element[3]->integer;
    reading->last_published_ms = reply->element[5]->integer;
    reading->keep_ms = (uint64_t)reply->element[6]->integer;
    reading->count = reply->element[7]->elements;
    reading->entries = reply->element[7]->element;
    reading->reason = RESET_NONE;
    for (enum reset_reason reason = RESET_NONE + 1; reason < RESET_COUNT; reason++)
        if (strcmp(reply->element[4]->str, reset_reason_word(reason)) == 0)
            reading->reason = reason;
    return reading->oldest > 0 && reading->oldest <= reading->top + 1 ? 0 : -EINVAL;
}

void reading_tell_mended(const char *channel)
{
    log_event(LOG_WARN, "message-mended", LOG_TEXT("channel", channel ? channel : ""),
              LOG_TEXT("reason", "its data or an attribute is not of the type that its publisher said"),
              LOG_TEXT("action", "it is delivered as text or binary; mend the publisher"));
}

struct message *reading_make_message(const struct reading *reading, size_t index, uint64_t now_ms)
{
    struct envelope envelope;
    if (envelope_parse_entry(&envelope, reading->entries[index], reading->keep_ms))
        return NULL;
    if (envelope_mend(&envelope))
        reading_tell_mended(NULL);
    int64_t age_ms = reading->now_ms - envelope.time_ms;
    if (age_ms > 0 && (uint64_t)age_ms >= envelope.keep_ms)
        return NULL;
    return envelope_make_message(&envelope, now_ms, age_ms > 0 ? (uint64_t)age_ms : 0);
}

uint64_t reading_last_offset(const struct reading *reading)
{
    struct envelope envelope;
    if (reading->count == 0 || envelope_parse_entry(&envelope, reading->entries[reading->count - 1], 0))
        return 0;
    return envelope.offset;
}
