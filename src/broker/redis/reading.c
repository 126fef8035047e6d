/* SPDX-License-Identifier: MIT */
#include "broker/redis/reading.h"

#include "base/log.h"

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
