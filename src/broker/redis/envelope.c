/* SPDX-License-Identifier: MIT */
#include "broker/redis/envelope.h"

#include <errno.h>
#include <string.h>

#include "base/container.h"
#include "base/json_scan.h"
#include "base/number.h"
#include "core/names.h"
#include "core/publish.h"

#define ENVELOPE_WORDS 13u /* and a mark */
/* As the option history-ttl allows; more would overflow the clock. */
#define ENVELOPE_KEEP_MAX_MS 31536000000u

/* Splits the header at single spaces. Returns its length with the line feed, 0 when it does not have that
 * form. */
static size_t envelope_split(struct text words[ENVELOPE_WORDS + 1], const char *bytes, size_t len)
{
    const char *end = memchr(bytes, '\n', len < 256 ? len : 256);
    const char *at = bytes;
    if (!end)
        return 0;
    words[ENVELOPE_WORDS] = (struct text){0};
    for (unsigned i = 0; i <= ENVELOPE_WORDS && at <= end; i++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space ? space : end;
        if (stop == at || (i + 1 < ENVELOPE_WORDS && !space) || (i == ENVELOPE_WORDS && space))
            return 0;
        words[i] = (struct text){at, (size_t)(stop - at)};
        at = stop + 1;
    }
    return (size_t)(end - bytes) + 1;
}

/* The shorter of what the channel keeps and what the message asked for. */
static void envelope_set_keep(struct envelope *envelope, uint64_t keep_ms, uint64_t ttl_s)
{
    uint64_t ttl_ms = ttl_s < ENVELOPE_KEEP_MAX_MS / 1000 ? ttl_s * 1000 : ENVELOPE_KEEP_MAX_MS;
    if (keep_ms > ENVELOPE_KEEP_MAX_MS)
        keep_ms = ENVELOPE_KEEP_MAX_MS;
    envelope->parts.ttl_ms = ttl_ms;
    envelope->keep_ms = ttl_ms > 0 && ttl_ms < keep_ms ? ttl_ms : keep_ms;
}

int envelope_parse(struct envelope *envelope, const char *bytes, size_t len)
{
    struct text words[ENVELOPE_WORDS + 1];
    uint64_t numbers[ENVELOPE_WORDS] = {0};
    *envelope = (struct envelope){0};
    size_t head = envelope_split(words, bytes, len);
    if (head == 0)
        return -EINVAL;
    struct message_parts *parts = &envelope->parts;
    envelope->reason = reset_reason_find(words[1]);
    parts->is_transient = text_is(words[1], "transient");
    bool is_message = parts->is_transient || text_is(words[1], "message");
    if (!text_is(words[0], "sluice2") || (envelope->reason == RESET_NONE && !is_message) ||
        words[2].len != EPOCH_LEN || epoch_parse(&envelope->epoch, words[2].bytes) ||
        message_type_parse(&envelope->parts.type, words[6].bytes, words[6].len))
        return -EINVAL;
    for (unsigned i = 3; i < ENVELOPE_WORDS; i++)
        if (i != 6 && number_parse_u64(&numbers[i], words[i].bytes, words[i].len))
            return -EINVAL;
    size_t rest = len - head;
    if (rest > MESSAGE_SIZE_MAX || numbers[4] > INT64_MAX ||
        (numbers[3] == 0 && !parts->is_transient && !envelope->reason))
        return -EINVAL;
    const struct {
        struct text *to;
        uint64_t len;
    } attributes[] = {{&parts->event, numbers[7]},
                      {&parts->producer, numbers[8]},
                      {&parts->mime, numbers[9]},
                      {&parts->key, numbers[11]},
                      {&parts->channel, numbers[12]}};
    const char *at = bytes + head;
    for (size_t i = 0; i < ARRAY_LENGTH(attributes); i++) {
        if (attributes[i].len > MESSAGE_ATTRIBUTE_MAX || attributes[i].len > (size_t)(bytes + len - at))
            return -EINVAL;
        *attributes[i].to = (struct text){at, (size_t)attributes[i].len};
        at += attributes[i].len;
    }
    envelope->offset = numbers[3];
    envelope->time_ms = (int64_t)numbers[4];
    envelope->mark = words[ENVELOPE_WORDS];
    parts->data = at;
    parts->size = (size_t)(bytes + len - at);
    envelope_set_keep(envelope, numbers[10], numbers[5]);
    return 0;
}

int envelope_parse_id(uint64_t *offset, const struct redisReply *id)
{
    const char *dash = id->type == REDIS_REPLY_STRING ? memchr(id->str, '-', id->len) : NULL;
    if (!dash || number_parse_u64(offset, id->str, (size_t)(dash - id->str)))
        return -EINVAL;
    return *offset > 0 ? 0 : -EINVAL;
}

static int envelope_read_field(struct envelope *envelope, const struct redisReply *name,
                               const struct redisReply *value, uint64_t *ttl_s)
{
    struct message_parts *parts = &envelope->parts;
    if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
        return -EINVAL;
    const struct text word = {name->str, name->len};
    const struct text text = {value->str, value->len};
    uint64_t number = 0;
    if (text_is(word, "data")) {
        parts->data = text.bytes;
        parts->size = text.len;
    } else if (text_is(word, "event")) {
        parts->event = text;
    } else if (text_is(word, "producer")) {
        parts->producer = text;
    } else if (text_is(word, "mime")) {
        parts->mime = text;
    } else if (text_is(word, "key")) {
        parts->key = text;
    } else if (text_is(word, "channel")) {
        parts->channel = text;
    }
    if (text_is(word, "type"))
        return message_type_parse(&parts->type, text.bytes, text.len);
    if ((text_is(word, "time") || text_is(word, "ttl")) &&
        (number_parse_u64(&number, value->str, value->len) || number > INT64_MAX))
        return -EINVAL;
    if (text_is(word, "time"))
        envelope->time_ms = (int64_t)number;
    if (text_is(word, "ttl"))
        *ttl_s = number;
    return 0;
}

int envelope_parse_entry(struct envelope *envelope, const struct redisReply *entry, uint64_t keep_ms)
{
    uint64_t ttl_s = 0;
    *envelope = (struct envelope){.parts.type = MESSAGE_BINARY};
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        envelope_parse_id(&envelope->offset, entry->element[0]) ||
        entry->element[1]->type != REDIS_REPLY_ARRAY)
        return -EINVAL;
    const struct redisReply *fields = entry->element[1];
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (envelope_read_field(envelope, fields->element[i], fields->element[i + 1], &ttl_s))
            return -EINVAL;
    if (!envelope->parts.data || envelope->parts.size > MESSAGE_SIZE_MAX ||
        envelope->parts.event.len > MESSAGE_ATTRIBUTE_MAX ||
        envelope->parts.producer.len > MESSAGE_ATTRIBUTE_MAX ||
        envelope->parts.mime.len > MESSAGE_ATTRIBUTE_MAX || envelope->parts.key.len > MESSAGE_ATTRIBUTE_MAX ||
        envelope->parts.channel.len > CHANNEL_NAME_MAX)
        return -EINVAL;
    envelope_set_keep(envelope, keep_ms, ttl_s);
    return 0;
}

void envelope_of_payload(struct envelope *envelope, const char *bytes, size_t len)
{
    *envelope =
        (struct envelope){.parts = {.type = message_type_guess(bytes, len), .data = bytes, .size = len}};
}

static bool envelope_is_json(const struct message_parts *parts)
{
    char fault[JSON_FAULT_MAX];
    struct text value;
    return json_scan(&value, parts->data, parts->size, fault) == 0;
}

static bool envelope_mend_attribute(struct text *text)
{
    if (message_attribute_is_valid(*text))
        return false;
    text->len = 0;
    return true;
}

bool envelope_mend(struct envelope *envelope)
{
    struct message_parts *parts = &envelope->parts;
    enum message_type type = parts->type;
    if (type == MESSAGE_JSON && !envelope_is_json(parts))
        parts->type = MESSAGE_TEXT;
    if (parts->type == MESSAGE_TEXT && !text_is_utf8(parts->data, parts->size, NULL))
        parts->type = MESSAGE_BINARY;
    bool is_changed = parts->type != type;
    if (publish_event_is_reserved(parts->event)) {
        parts->event.len = 0;
        is_changed = true;
    }
    is_changed |= envelope_mend_attribute(&parts->event);
    is_changed |= envelope_mend_attribute(&parts->producer);
    is_changed |= envelope_mend_attribute(&parts->mime);
    is_changed |= envelope_mend_attribute(&parts->key);
    if (parts->channel.len > 0 && !channel_name_is_valid(parts->channel.bytes, parts->channel.len)) {
        parts->channel.len = 0;
        is_changed = true;
    }
    if (is_changed && parts->type != type)
        parts->mime.len = 0;
    return is_changed;
}

struct message *envelope_make_message(const struct envelope *envelope, uint64_t now_ms, uint64_t age_ms)
{
    struct message *message = message_new(&envelope->parts);
    if (!message)
        return NULL;
    message->offset = envelope->offset;
    message->time_ms = envelope->time_ms;
    message->expires_ms = now_ms + (envelope->keep_ms > age_ms ? envelope->keep_ms - age_ms : 0);
    return message;
}
