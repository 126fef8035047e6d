/* SPDX-License-Identifier: MIT */
#pragma once

/* What the functions of sluice.lua and SCAN answer, as values.
 *
 * Anybody who reaches Redis can write to its keys and replace its functions: a reply is hostile, and nothing
 * of it is used before one of these has found all of it to be of its form. Each returns 0; -ENOENT where the
 * answer says that there is no such thing; -EBADMSG for everything else, an error reply too. What they give
 * is borrowed from the reply. Any thread.
 */

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ancestry.h"
#include "core/broker.h"
#include "core/epoch.h"
#include "tables/resets.h"

/* sluice_open, sluice_read: where a log stands and some of its messages. */
struct reading {
    struct log_state log;     /* `oldest` is from 1 to top + 1 */
    enum reset_reason reason; /* why this log was begun */
    int64_t now_ms;           /* by Redis' clock */
    int64_t last_published_ms;
    uint64_t keep_ms;
    uint64_t last; /* offset of the last entry; 0 when there is none */
    size_t count;
    struct redisReply **entries; /* [id, fields], with offsets from 1 to top that do not fall; of fields
                                    nothing is known yet */
};

int answer_parse_reading(struct reading *reading, const struct redisReply *reply, struct text channel);

/* The message of entry `index`; NULL when it is none, has expired, or memory is out. */
struct message *reading_make_message(const struct reading *reading, size_t index, uint64_t now_ms);

/* Tells the operator that somebody writes messages that are not what they say. */
void reading_tell_mended(const char *channel);

/* sluice_inspect of the channel that is named there, which is left alone by what is not one. */
int answer_parse_inspection(struct inspection *channel, const struct redisReply *reply);

/* sluice_purge: how many messages were dropped. */
int answer_parse_purge(uint64_t *dropped, const struct redisReply *reply);

/* Where a message is in its log. */
struct published {
    struct epoch epoch;
    uint64_t offset; /* of a transient one that of the top, and be it 0 */
    int64_t time_ms;
    bool is_duplicate;
};

/* sluice_publish into the log of the channel and those of `trees` trees, of which it says nothing when the
 * idempotency key was known. */
int answer_parse_published(struct published *published, const struct redisReply *reply, struct text channel,
                           size_t trees, bool is_transient);

/* The same: where it is in the log of tree `index`, of that name. */
int answer_parse_published_in(struct published *published, const struct redisReply *reply, size_t index,
                              struct text tree);

/* sluice_find: whether all of the time asked for was seen, of `count` marks; then of each where it is. */
int answer_parse_found(bool *is_complete, const struct redisReply *reply, size_t count);
int answer_parse_found_at(struct published *published, const struct redisReply *reply, size_t index,
                          struct text channel);

#define ANSWER_CURSOR_MAX 24u

/* A step of SCAN: the keys found, and where the next one goes on ("0": there is none). */
int answer_parse_scan(const struct redisReply **keys, char cursor[ANSWER_CURSOR_MAX],
                      const struct redisReply *reply);

/* The channel whose hash is at that key: `len` bytes, a valid name. NULL when it is none. */
const char *answer_find_channel(const struct redisReply *key, size_t *len);
