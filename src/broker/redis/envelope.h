/* SPDX-License-Identifier: MIT */
#pragma once

/* A message as it travels: what sluice.lua publishes on a channel's feed, and what it keeps in the stream.
 *
 *   sluice2 KIND EPOCH OFFSET TIME TTL TYPE EVENT-LEN PRODUCER-LEN MIME-LEN KEEP-MS KEY-LEN CHANNEL-LEN
 * [MARK]\n event producer mime key channel data
 *
 * KIND is `message`, `transient`, or the reason of a reset. CHANNEL is where it was published to, on the feed
 * of a tree above that; else empty. A transient message that a node has published bears its mark. Anybody who
 * reaches Redis can write either: hostile input. Parsing copies nothing; any thread.
 */

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/epoch.h"
#include "core/message.h"
#include "tables/resets.h"

struct envelope {
    enum reset_reason reason; /* RESET_NONE: a message, transient or not as its parts say */
    struct epoch epoch;       /* of a stream's entry: zeros */
    uint64_t offset;          /* 0 is that of a transient message before the first */
    int64_t time_ms;
    uint64_t keep_ms; /* how long it is kept from `time_ms` on, its own ttl included */
    struct text mark; /* empty for none */
    struct message_parts parts;
};

/* Borrows `bytes`. Returns 0 or -EINVAL. */
int envelope_parse(struct envelope *envelope, const char *bytes, size_t len);

/* The id of an entry of the stream: "OFFSET-0", and whatever stands in place of the 0. Returns 0 or -EINVAL.
 */
int envelope_parse_id(uint64_t *offset, const struct redisReply *id);

/* An entry of the stream, kept for `keep_ms`. Borrows the reply. Returns 0 or -EINVAL. */
int envelope_parse_entry(struct envelope *envelope, const struct redisReply *entry, uint64_t keep_ms);

/* A payload of plain PUBLISH: text if it is UTF-8, else binary. */
void envelope_of_payload(struct envelope *envelope, const char *bytes, size_t len);

/* Makes what was written past our own checks safe: data that is not of its type becomes text or binary, an
 * attribute that may not be one is left out. Returns whether anything had to be changed. */
bool envelope_mend(struct envelope *envelope);

/* The message, with its offset, its time and when it expires; `age_ms` is how old it is. NULL when memory is
 * out. */
struct message *envelope_make_message(const struct envelope *envelope, uint64_t now_ms, uint64_t age_ms);
