/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_READING_H
#define SLUICE_BROKER_REDIS_READING_H

/* The answers of sluice_open and sluice_read: where a log stands and some of its messages. Borrowed from the
 * reply. */

#include "broker/redis/envelope.h"

struct reading {
    struct epoch epoch;
    enum reset_reason reason; /* why this epoch was begun; RESET_NONE when it does not say */
    uint64_t top;
    uint64_t oldest;
    int64_t now_ms; /* by Redis' clock */
    int64_t last_published_ms;
    uint64_t keep_ms;
    size_t count;
    struct redisReply **entries;
};

/* Returns 0, or -EINVAL when the reply is not such an answer. */
int reading_parse(struct reading *reading, const struct redisReply *reply);

/* The message of entry `index`; NULL when it is none, has expired, or memory is out. */
struct message *reading_make_message(const struct reading *reading, size_t index, uint64_t now_ms);

/* The offset of the last entry, whether it has expired or not; 0 when there is none. */
uint64_t reading_last_offset(const struct reading *reading);

/* Tells the operator that somebody writes messages that are not what they say. */
void reading_tell_mended(const char *channel);

#endif
