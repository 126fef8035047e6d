/* SPDX-License-Identifier: MIT */
#include "broker/redis/answer.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/number.h"
#include "broker/redis/envelope.h"
#include "core/cursor.h"
#include "core/names.h"

/* Parts. */

static bool answer_is(const struct redisReply *reply, int type)
{
    return reply->type == type;
}

static bool answer_is_array(const struct redisReply *reply, size_t elements)
{
    return answer_is(reply, REDIS_REPLY_ARRAY) && reply->elements == elements;
}

/* Empty when it is no text. */
static struct text answer_text(const struct redisReply *reply)
{
    return answer_is(reply, REDIS_REPLY_STRING) ? (struct text){reply->str, reply->len} : (struct text){0};
}

static int answer_fault(const struct redisReply *reply)
{
    return answer_is(reply, REDIS_REPLY_NIL) ? -ENOENT : -EBADMSG;
}

/* All numbers that we are told count something. */
static int answer_read_number(uint64_t *number, const struct redisReply *reply)
{
    if (!answer_is(reply, REDIS_REPLY_INTEGER) || reply->integer < 0)
        return -EBADMSG;
    *number = (uint64_t)reply->integer;
    return 0;
}

static int answer_read_time(int64_t *time_ms, const struct redisReply *reply)
{
    if (!answer_is(reply, REDIS_REPLY_INTEGER) || reply->integer < 0)
        return -EBADMSG;
    *time_ms = reply->integer;
    return 0;
}

/* Cursors are found by the part of the epoch that comes from the channel's name: with another it is of no
 * use. */
static int answer_read_epoch(struct epoch *epoch, struct text text, struct text channel)
{
    const struct epoch name = epoch_of_name(channel.bytes, channel.len);
    bool is_ours =
        text.len == EPOCH_LEN && epoch_parse(epoch, text.bytes) == 0 && epoch_has_same_name(epoch, &name);
    return is_ours ? 0 : -EBADMSG;
}

/* EPOCH-OFFSET. */
static int answer_read_id(struct published *published, struct text text, struct text channel)
{
    struct position position;
    if (position_parse(&position, text.bytes, text.len))
        return -EBADMSG;
    published->offset = position.offset;
    return answer_read_epoch(&published->epoch, (struct text){text.bytes, EPOCH_LEN}, channel);
}

/* Readings. */

static int answer_read_entries(struct reading *reading, const struct redisReply *reply)
{
    if (!answer_is(reply, REDIS_REPLY_ARRAY))
        return -EBADMSG;
    reading->last = 0;
    for (size_t i = 0; i < reply->elements; i++) {
        const struct redisReply *entry = reply->element[i];
        uint64_t offset;
        if (!answer_is_array(entry, 2) || !answer_is(entry->element[1], REDIS_REPLY_ARRAY) ||
            envelope_parse_id(&offset, entry->element[0]) || offset < reading->last ||
            offset > reading->log.top)
            return -EBADMSG;
        reading->last = offset;
    }
    reading->count = reply->elements;
    reading->entries = reply->element;
    return 0;
}

int answer_parse_reading(struct reading *reading, const struct redisReply *reply, struct text channel)
{
    struct log_state *log = &reading->log;
    if (!answer_is_array(reply, 9))
        return answer_fault(reply);
    struct redisReply **part = reply->element;
    reading->reason = reset_reason_find(answer_text(part[4]));
    if (answer_read_epoch(&log->epoch, answer_text(part[0]), channel) ||
        answer_read_number(&log->top, part[1]) || answer_read_number(&log->oldest, part[2]) ||
        answer_read_time(&reading->now_ms, part[3]) || reading->reason == RESET_NONE ||
        !answer_is(part[5], REDIS_REPLY_STRING) ||
        ancestry_parse(&log->ancestry, part[5]->str, part[5]->len) ||
        answer_read_time(&reading->last_published_ms, part[6]) ||
        answer_read_number(&reading->keep_ms, part[7]) || log->oldest == 0 || log->oldest > log->top + 1)
        return -EBADMSG;
    return answer_read_entries(reading, part[8]);
}

/* The others. */

int answer_parse_inspection(struct inspection *channel, const struct redisReply *reply)
{
    struct inspection read = *channel;
    if (!answer_is_array(reply, 5))
        return answer_fault(reply);
    struct redisReply **part = reply->element;
    if (answer_read_epoch(&read.epoch, answer_text(part[0]),
                          (struct text){channel->name, channel->name_len}) ||
        answer_read_number(&read.top, part[1]) || answer_read_number(&read.oldest, part[2]) ||
        answer_read_number(&read.bytes, part[3]) || answer_read_time(&read.last_published_ms, part[4]) ||
        read.oldest == 0 || read.oldest > read.top + 1)
        return -EBADMSG;
    *channel = read;
    channel->messages = read.top + 1 - read.oldest;
    return 0;
}

int answer_parse_purge(uint64_t *dropped, const struct redisReply *reply)
{
    return answer_is_array(reply, 1) ? answer_read_number(dropped, reply->element[0]) : answer_fault(reply);
}

int answer_parse_published(struct published *published, const struct redisReply *reply, struct text channel,
                           size_t trees, bool is_transient)
{
    uint64_t is_duplicate;
    if (!answer_is(reply, REDIS_REPLY_ARRAY) || (reply->elements != 3 && reply->elements != 3 + trees) ||
        answer_read_id(published, answer_text(reply->element[0]), channel) ||
        answer_read_time(&published->time_ms, reply->element[1]) ||
        answer_read_number(&is_duplicate, reply->element[2]))
        return -EBADMSG;
    published->is_duplicate = is_duplicate != 0;
    return published->offset > 0 || is_transient ? 0 : -EBADMSG;
}

int answer_parse_published_in(struct published *published, const struct redisReply *reply, size_t index,
                              struct text tree)
{
    if (reply->elements < 4 + index)
        return -ENOENT;
    return answer_read_id(published, answer_text(reply->element[3 + index]), tree);
}

int answer_parse_found(bool *is_complete, const struct redisReply *reply, size_t count)
{
    uint64_t number;
    if (!answer_is_array(reply, count + 1) || answer_read_number(&number, reply->element[0]))
        return -EBADMSG;
    *is_complete = number == 1;
    return 0;
}

/* "EPOCH-OFFSET TIME", or nothing. */
int answer_parse_found_at(struct published *published, const struct redisReply *reply, size_t index,
                          struct text channel)
{
    const struct redisReply *at = reply->element[index + 1];
    uint64_t time_ms;
    if (!answer_is(at, REDIS_REPLY_STRING))
        return -EBADMSG;
    if (at->len == 0)
        return -ENOENT;
    const char *space = memchr(at->str, ' ', at->len);
    size_t len = space ? (size_t)(space - at->str) : 0;
    if (!space || answer_read_id(published, (struct text){at->str, len}, channel) || published->offset == 0 ||
        number_parse_u64(&time_ms, space + 1, at->len - len - 1) || time_ms > INT64_MAX)
        return -EBADMSG;
    published->time_ms = (int64_t)time_ms;
    published->is_duplicate = false;
    return 0;
}

int answer_parse_scan(const struct redisReply **keys, char cursor[ANSWER_CURSOR_MAX],
                      const struct redisReply *reply)
{
    uint64_t number;
    if (!answer_is_array(reply, 2) || !answer_is(reply->element[0], REDIS_REPLY_STRING) ||
        !answer_is(reply->element[1], REDIS_REPLY_ARRAY) || reply->element[0]->len >= ANSWER_CURSOR_MAX ||
        number_parse_u64(&number, reply->element[0]->str, reply->element[0]->len))
        return -EBADMSG;
    memcpy(cursor, reply->element[0]->str, reply->element[0]->len + 1);
    *keys = reply->element[1];
    return 0;
}

/* "sluice:{FIRST}:m:NAME". */
const char *answer_find_channel(const struct redisReply *key, size_t *len)
{
    const char *brace = answer_is(key, REDIS_REPLY_STRING) ? memchr(key->str, '}', key->len) : NULL;
    if (!brace || strncmp(brace, "}:m:", 4) != 0)
        return NULL;
    *len = key->len - (size_t)(brace + 4 - key->str);
    return channel_name_is_valid(brace + 4, *len) ? brace + 4 : NULL;
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
