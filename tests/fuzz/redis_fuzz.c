/* SPDX-License-Identifier: MIT */
/* Everything that Redis, or somebody who can write to it, sends: envelopes, payloads, entries and answers,
 * and the URL that an operator writes. The first byte chooses. */

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/answer.h"
#include "broker/redis/envelope.h"
#include "broker/redis/presence_event.h"
#include "broker/redis/reader.h"
#include "broker/redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What has been parsed must be safe to keep: made into a message, it is of its type. */
static void fuzz_check(struct envelope *envelope)
{
    (void)envelope_mend(envelope);
    if (envelope_mend(envelope))
        abort();
    struct message *message = envelope_make_message(envelope, 1000, 0);
    if (message && message->expires_ms < 1000)
        abort();
    message_unref(message);
}

/* The channel whose answers these are; its epochs begin with the same five characters. */
#define FUZZ_CHANNEL "fuzz"

static void fuzz_expect(bool is_true)
{
    if (!is_true)
        abort();
}

/* What is told to Redis again is what it has told. */
static void fuzz_ancestry(const struct ancestry *ancestry)
{
    char text[ANCESTRY_TEXT_MAX];
    struct ancestry again;
    size_t len = ancestry_format(text, ancestry);
    fuzz_expect(len < sizeof(text) && ancestry_parse(&again, text, len) == 0 &&
                again.count == ancestry->count);
    for (unsigned i = 0; i < again.count; i++)
        fuzz_expect(again.forebears[i].shared == ancestry->forebears[i].shared &&
                    again.forebears[i].is_doubtful == ancestry->forebears[i].is_doubtful);
}

static void fuzz_reading(const struct redisReply *reply)
{
    struct reading reading;
    if (answer_parse_reading(&reading, reply, text_of(FUZZ_CHANNEL)))
        return;
    fuzz_expect(reading.log.oldest >= 1 && reading.log.oldest <= reading.log.top + 1 &&
                reading.last <= reading.log.top);
    fuzz_expect(reading.log.ancestry.count <= ANCESTRY_MAX && reading.reason < RESET_COUNT);
    fuzz_ancestry(&reading.log.ancestry);
    for (size_t i = 0; i < reading.count; i++) {
        struct message *message = reading_make_message(&reading, i, 1000);
        fuzz_expect(!message || (message->offset >= 1 && message->offset <= reading.last));
        message_unref(message);
    }
}

static void fuzz_found(const struct redisReply *reply)
{
    struct published published;
    bool is_complete;
    for (size_t count = 0; count < 4; count++) {
        if (answer_parse_found(&is_complete, reply, count))
            continue;
        for (size_t i = 0; i < count; i++)
            if (answer_parse_found_at(&published, reply, i, text_of(FUZZ_CHANNEL)) == 0)
                fuzz_expect(published.offset > 0 && published.time_ms >= 0);
    }
}

static void fuzz_scan(const struct redisReply *reply)
{
    const struct redisReply *keys;
    char cursor[ANSWER_CURSOR_MAX];
    size_t len;
    if (answer_parse_scan(&keys, cursor, reply))
        return;
    fuzz_expect(strlen(cursor) < ANSWER_CURSOR_MAX);
    for (size_t i = 0; i < keys->elements; i++) {
        const char *name = answer_find_channel(keys->element[i], &len);
        fuzz_expect(!name || channel_name_is_valid(name, len));
    }
}

static void fuzz_answer(const struct redisReply *reply)
{
    struct inspection inspection = {.name = FUZZ_CHANNEL, .name_len = sizeof(FUZZ_CHANNEL) - 1};
    struct published published;
    struct envelope envelope;
    uint64_t dropped;
    if (envelope_parse_entry(&envelope, reply, 1000) == 0)
        fuzz_check(&envelope);
    fuzz_reading(reply);
    fuzz_found(reply);
    fuzz_scan(reply);
    if (answer_parse_inspection(&inspection, reply) == 0)
        fuzz_expect(inspection.messages == inspection.top + 1 - inspection.oldest &&
                    inspection.messages <= inspection.top);
    if (answer_parse_published(&published, reply, text_of(FUZZ_CHANNEL), 2, true) == 0)
        fuzz_expect(published.time_ms >= 0);
    if (reply->type == REDIS_REPLY_ARRAY)
        (void)answer_parse_published_in(&published, reply, 1, text_of(FUZZ_CHANNEL));
    (void)answer_parse_purge(&dropped, reply);
}

static void fuzz_reply(const char *bytes, size_t size)
{
    redisReader *reader = reader_new();
    void *reply = NULL;
    redisReaderFeed(reader, bytes, size);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        fuzz_answer(reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    redisReaderFree(reader);
}

static void fuzz_event(const char *bytes, size_t size)
{
    struct presence_event event;
    if (presence_event_parse(&event, bytes, size))
        return;
    fuzz_expect(event.word.len > 0 && event.json.len > 0 && event.time_ms >= 0 &&
                event.json.bytes + event.json.len <= bytes + size);
}

static void fuzz_life(const char *bytes, size_t size)
{
    const struct text text = {bytes, size};
    struct life_event event;
    if (life_event_parse(&event, text))
        return;
    fuzz_expect(event.name.len > 0 && event.text.len > event.name.len &&
                text_equals(event.name, text_behind(event.text, event.text.len - event.name.len)) &&
                event.text.bytes + event.text.len == bytes + size);
}

static void fuzz_url(const char *bytes, size_t size)
{
    struct url url;
    char fault[URL_FAULT_MAX];
    char *text = strndup(bytes, size);
    if (text && url_parse(&url, text, fault) == 0) {
        if (url.count == 0 || !url.addresses[0])
            abort();
        url_deinit(&url);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct envelope envelope;
    const char *text = (const char *)bytes + 1;
    if (size == 0)
        return 0;
    size--;
    if (bytes[0] == 'e' && envelope_parse(&envelope, text, size) == 0)
        fuzz_check(&envelope);
    if (bytes[0] == 'p') {
        envelope_of_payload(&envelope, text, size);
        fuzz_check(&envelope);
    }
    if (bytes[0] == 'v')
        fuzz_event(text, size);
    if (bytes[0] == 'l')
        fuzz_life(text, size);
    if (bytes[0] == 'r')
        fuzz_reply(text, size);
    if (bytes[0] == 'u')
        fuzz_url(text, size);
    return 0;
}
