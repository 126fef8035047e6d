/* SPDX-License-Identifier: MIT */
/* Everything that Redis, or somebody who can write to it, sends: envelopes, payloads, entries and answers,
 * and the URL that an operator writes. The first byte chooses. */

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/envelope.h"
#include "broker/redis/reading.h"
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

static void fuzz_reply(const char *bytes, size_t size)
{
    redisReader *reader = redisReaderCreate();
    struct envelope envelope;
    struct reading reading;
    void *reply = NULL;
    redisReaderFeed(reader, bytes, size);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        if (envelope_parse_entry(&envelope, reply, 1000) == 0)
            fuzz_check(&envelope);
        if (reading_parse(&reading, reply) == 0)
            for (size_t i = 0; i < reading.count; i++)
                message_unref(reading_make_message(&reading, i, 1000));
        freeReplyObject(reply);
        reply = NULL;
    }
    redisReaderFree(reader);
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
    if (bytes[0] == 'r')
        fuzz_reply(text, size);
    if (bytes[0] == 'u')
        fuzz_url(text, size);
    return 0;
}
