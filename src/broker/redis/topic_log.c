/* SPDX-License-Identifier: MIT */
#include "broker/redis/topic_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "broker/redis/answer.h"
#include "broker/redis/broker.h"
#include "broker/redis/call.h"
#include "broker/redis/presence.h"
#include "broker/redis/envelope.h"
#include "broker/redis/limits.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "config/options.h"

/* What is asked for in one step while following a log, and what is kept back while waiting for the answer. */
#define OPEN_MOST 256u
#define OPEN_TAIL 64u
#define OPEN_BYTES (1u << 20)
#define EARLY_MOST 8192u
/* Of transient messages that came too early the newest are kept. */
#define PASSING_MOST 256u
#define PASSING_BYTES (1u << 20)
/* A hole that three readings do not fill is in the log itself: subscribers are told by a reset. */
#define OPEN_FUTILE_MOST 3u

struct open {
    struct call call;
    struct topic *topic; /* NULL when it is gone */
};

/* After any change of the ring. */
static void topic_note_ring(struct topic *topic)
{
    const struct ring *ring = &topic->ring;
    broker_count(&topic->broker->super, METRIC_MESSAGES, (int64_t)ring->count - (int64_t)topic->counted);
    topic->counted = ring->count;
    if (topic->state == TOPIC_BRIDGED)
        topic->log.oldest = ring->count > 0 ? ring_at(ring, 0)->offset : topic->log.top + 1;
}

void topic_drop_ring(struct topic *topic)
{
    ring_deinit(&topic->ring);
    topic_note_ring(topic);
}

void topic_expire_ring(struct topic *topic)
{
    (void)ring_expire(&topic->ring, topic->broker->now_ms);
    topic_note_ring(topic);
}

const struct retention *topic_kept(struct topic *topic)
{
    if (topic->kept_generation != topic->broker->generation) {
        topic->kept = limits_retention(topic->broker->options, topic_name(topic));
        topic->kept_generation = topic->broker->generation;
    }
    return &topic->kept;
}

/* Of a bridged channel this is the log; of the others the log is in Redis, and this saves reading it. */
static void topic_trim_ring(struct topic *topic)
{
    struct retention retention = *topic_kept(topic);
    if (message_memory_bytes() > topic->broker->options->memory_limit_bytes)
        retention = (struct retention){topic->ring.count / 2, topic->ring.bytes / 2, retention.ttl_ms};
    ring_trim(&topic->ring, &retention);
    topic_note_ring(topic);
}

/* Appends, taking over the reference, and feeds the shards. */
static void topic_append(struct topic *topic, struct message *message)
{
    topic_tell_passing(topic);
    if (message->offset != topic->log.top + 1)
        ring_deinit(&topic->ring);
    topic->log.top = message->offset;
    topic->last_published_ms = message->time_ms;
    /* Without memory for the letters the shards see a hole with the next one and ask. */
    (void)broker_feed(&topic->attachments, &(struct feed){.message = message});
    (void)ring_append_or_drop(&topic->ring, message); /* without memory nothing is kept here */
    topic_trim_ring(topic);
}

static void topic_count_reset(struct topic *topic)
{
    if (topic->attachments.count > 0)
        broker_count(&topic->broker->super, METRIC_BROKER_RESETS, 1);
}

/* Transient messages. */

/* Takes over the reference. It stands behind what this node knows of the log by now, which is at least what
 * it was accepted behind. */
static void topic_pass(struct topic *topic, struct message *message)
{
    message->offset = topic->log.top;
    /* Without memory for the letters it is not told: nobody asks for it again. */
    (void)broker_feed(&topic->attachments, &(struct feed){.message = message});
    message_unref(message);
}

void topic_tell_passing(struct topic *topic)
{
    struct ring *passing = &topic->passing;
    if (passing->count > 0 && topic->has_log && !epoch_equals(&topic->passing_epoch, &topic->log.epoch))
        ring_deinit(passing);
    /* As long as nobody is attached, those who wait to be will want it. */
    while (passing->count > 0 && topic->attachments.count > 0 &&
           ring_at(passing, 0)->offset <= topic->log.top) {
        struct message *message = message_ref(ring_at(passing, 0));
        ring_drop_oldest(passing);
        topic_pass(topic, message);
    }
    if (passing->count == 0)
        ring_deinit(passing);
}

/* The number in a mark of this node; 0 when it is another's. */
static uint64_t topic_own_number(const struct topic *topic, struct text mark)
{
    uint64_t number = 0;
    if (mark.len == 0)
        return 0;
    struct text node = text_cut(&mark, '.');
    if (!text_is(node, topic->broker->node) || number_parse_u64(&number, mark.bytes, mark.len))
        return 0;
    return number;
}

static void topic_keep_passing(struct topic *topic, const struct envelope *envelope)
{
    static const struct retention kept = {PASSING_MOST, PASSING_BYTES, 0};
    struct ring *passing = &topic->passing;
    uint64_t number = topic_own_number(topic, envelope->mark);
    if (number > 0 && number <= topic->own_passed)
        return;
    topic->own_passed = number > 0 ? number : topic->own_passed;
    if (passing->count > 0 && !epoch_equals(&topic->passing_epoch, &envelope->epoch))
        ring_deinit(passing);
    topic->passing_epoch = envelope->epoch;
    struct message *message = envelope_make_message(envelope, topic->broker->now_ms, 0);
    if (message && ring_append(passing, message))
        message_unref(message);
    ring_trim(passing, &kept);
}

/* Tells the shards what the log is now. */
static void topic_feed_log(struct topic *topic, enum reset_reason reason)
{
    if (reason != RESET_NONE)
        topic_count_reset(topic);
    if (broker_feed(&topic->attachments, &(struct feed){.reason = reason, .log = topic->log}))
        log_event(LOG_ERROR, "reset-not-told", LOG_TEXT("channel", topic->name),
                  LOG_TEXT("reason", "no memory"));
}

/* The log goes on under the epoch of `log`. What it had of messages behind the forebear's shared ones is
 * gone. */
static void topic_renew(struct topic *topic, const struct log_state *log)
{
    const struct forebear *forebear = ancestry_find(&log->ancestry, &topic->log.epoch);
    if (topic->log.top > forebear->shared || forebear->is_doubtful) {
        topic->log.top = forebear->shared;
        topic->log.oldest = log->oldest;
        topic_drop_ring(topic);
        topic_count_reset(topic);
    }
    topic->log.epoch = log->epoch;
    topic->log.ancestry = log->ancestry;
    topic_feed_log(topic, RESET_NONE);
}

/* Bridged channels. */

int topic_append_bridged(struct topic *topic, struct envelope *envelope)
{
    envelope->offset = topic->log.top + 1;
    envelope->time_ms = clock_wall_ms();
    envelope->keep_ms = topic_kept(topic)->ttl_ms;
    struct message *message = envelope_make_message(envelope, topic->broker->now_ms, 0);
    if (!message)
        return -ENOMEM;
    topic_append(topic, message);
    return 0;
}

/* Without the messages of before: their ids are of the epoch that they came in. */
void topic_renew_bridged(struct topic *topic)
{
    const struct forebear forebear = {topic->log.epoch, .is_doubtful = true, .shared = topic->log.top};
    struct log_state log = topic->log;
    log.epoch = epoch_new(topic->name, topic->name_len);
    ancestry_add(&log.ancestry, &forebear);
    topic_renew(topic, &log);
}

void topic_purge_bridged(struct topic *topic)
{
    topic->log.ancestry.count = 0;
    topic->log.epoch = epoch_new(topic->name, topic->name_len);
    topic->log.top = 0;
    topic_drop_ring(topic);
    topic_feed_log(topic, RESET_PURGED);
}

/* What comes too early. */

static void topic_keep_early(struct topic *topic, const struct envelope *envelope)
{
    struct ring *early = &topic->early;
    if (early->count > 0 && !epoch_equals(&topic->early_epoch, &envelope->epoch))
        ring_deinit(early);
    topic->early_epoch = envelope->epoch;
    if (early->count > 0 && ring_at(early, early->count - 1)->offset >= envelope->offset)
        return;
    struct message *message =
        early->count < EARLY_MOST ? envelope_make_message(envelope, topic->broker->now_ms, 0) : NULL;
    /* Whatever cannot be kept back is read from the stream. */
    if (!message || ring_append(early, message)) {
        message_unref(message);
        ring_deinit(early);
        topic->has_hole = true;
    }
}

/* Returns whether all of it fits behind what is known. */
static bool topic_append_early(struct topic *topic, bool is_forced)
{
    struct ring *early = &topic->early;
    if (early->count > 0 && !epoch_equals(&topic->early_epoch, &topic->log.epoch))
        ring_deinit(early);
    while (early->count > 0) {
        struct message *message = ring_at(early, 0);
        if (message->offset > topic->log.top + 1 && !is_forced)
            return false;
        if (message->offset > topic->log.top)
            topic_append(topic, message_ref(message));
        ring_drop_oldest(early);
    }
    ring_deinit(early);
    return true;
}

void topic_stop_opening(struct topic *topic)
{
    ring_deinit(&topic->early);
    ring_deinit(&topic->passing);
    topic->has_hole = false;
    if (topic->open)
        topic->open->topic = NULL;
    topic->open = NULL;
}

/* The answer to open. */

/* A log that is not the one known so far, or the first. */
static void topic_begin_log(struct topic *topic, const struct reading *reading, enum reset_reason reason)
{
    bool had_log = topic->has_log;
    struct ring *ring = &topic->ring;
    topic_drop_ring(topic);
    topic->log = reading->log;
    topic->has_log = true;
    for (size_t i = 0; i < reading->count; i++) {
        struct message *message = reading_make_message(reading, i, topic->broker->now_ms);
        if (!message)
            continue;
        if (ring->count > 0 && ring_at(ring, ring->count - 1)->offset + 1 != message->offset)
            ring_deinit(ring);
        if (ring_append(ring, message))
            message_unref(message);
    }
    if (ring->count > 0 && ring_at(ring, ring->count - 1)->offset != reading->log.top)
        ring_deinit(ring);
    topic_note_ring(topic);
    if (had_log)
        topic_feed_log(topic, reason);
}

static void topic_go_on(struct topic *topic, const struct reading *reading)
{
    uint64_t before = topic->log.top;
    topic->log.oldest = number_greater(topic->log.oldest, reading->log.oldest);
    for (size_t i = 0; i < reading->count; i++) {
        struct message *message = reading_make_message(reading, i, topic->broker->now_ms);
        if (message && message->offset > topic->log.top)
            topic_append(topic, message);
        else
            message_unref(message);
    }
    topic->futile_opens = topic->log.top > before ? 0 : (uint8_t)(topic->futile_opens + 1);
    /* Nothing of it is kept any more. */
    if (topic->log.top < reading->log.top &&
        (reading->log.oldest > reading->log.top || topic->futile_opens > OPEN_FUTILE_MOST)) {
        topic_drop_ring(topic);
        topic->log.top = reading->log.top;
        topic_feed_log(topic, RESET_TRIMMED);
    }
}

static void topic_merge_reading(struct topic *topic, const struct reading *reading)
{
    bool is_known = topic->has_log && epoch_equals(&topic->log.epoch, &reading->log.epoch);
    const struct forebear *forebear =
        topic->has_log ? ancestry_find(&reading->log.ancestry, &topic->log.epoch) : NULL;
    if (reading->last_published_ms > 0)
        topic->last_published_ms = reading->last_published_ms;
    if (!is_known && (!forebear || forebear->is_doubtful)) {
        topic_begin_log(topic, reading, forebear ? RESET_FAILOVER : reading->reason);
    } else {
        if (!is_known)
            topic_renew(topic, &reading->log);
        topic_go_on(topic, reading);
    }
    bool is_whole = topic->log.top >= reading->log.top;
    if (is_whole)
        is_whole = topic_append_early(topic, topic->futile_opens > OPEN_FUTILE_MOST) && !topic->has_hole;
    if (!is_whole) {
        topic->has_hole = false;
        topic_open(topic);
        return;
    }
    topic->futile_opens = 0;
    topic_opened(topic);
}

static void topic_note_clock(struct topic *topic, const struct call *call, const struct reading *reading)
{
    struct clock_offset *clock = &call->server->clock;
    clock_offset_note(clock, call->command.sent_ns, clock_monotonic_ns(), reading->now_ms);
    topic->ahead_ms = clock->is_known ? clock_offset_most_ms(clock) : ATTACH_AT_ONCE;
}

static void topic_open_answered(struct call *call, const struct redisReply *reply)
{
    struct open *open = container_of(call, struct open, call);
    struct topic *topic = open->topic;
    struct reading reading;
    if (topic) {
        topic->open = NULL;
        if (reply && answer_parse_reading(&reading, reply, topic_name(topic)) == 0) {
            topic_note_clock(topic, call, &reading);
            topic_merge_reading(topic, &reading);
        } else {
            topic_open_failed(topic, call_error(call, reply));
        }
    }
    call_deinit(call);
    free(open);
}

void topic_open(struct topic *topic)
{
    struct redis_broker *broker = topic->broker;
    char ancestry[ANCESTRY_TEXT_MAX];
    char top[21];
    char most[21];
    char bytes[21];
    char limits[LIMITS_TEXT_MAX];
    if (topic->open)
        return;
    struct open *open = calloc(1, sizeof(*open));
    const struct epoch name_part = epoch_of_name(topic->name, topic->name_len);
    const struct text arguments[] = {
        {topic->log.epoch.text, topic->has_log ? EPOCH_LEN : 0},
        call_number(top, topic->log.top),
        {ancestry, topic->has_log ? ancestry_format(ancestry, &topic->log.ancestry) : 0},
        limits_format(limits, broker->options, topic_name(topic)),
        call_number(most, topic->has_log ? OPEN_MOST : OPEN_TAIL),
        call_number(bytes, topic->has_log ? OPEN_BYTES : OPEN_BYTES / 16),
        {name_part.text, EPOCH_NAME_LEN},
        {limits_are_of_tree(broker->options, topic_name(topic)) ? "1" : "0", 1},
    };
    enum error_code error = open ? call_prepare(&open->call, broker, "open", topic_name(topic), NULL,
                                                arguments, ARRAY_LENGTH(arguments), topic_open_answered)
                                 : ERROR_OUT_OF_MEMORY;
    if (error != ERROR_NONE) {
        free(open);
        topic_open_failed(topic, error);
        return;
    }
    open->topic = topic;
    topic->open = open;
    call_submit(&open->call);
}

/* The feed. */

static void topic_follow(struct topic *topic, const struct envelope *envelope)
{
    bool is_of_this_log = epoch_equals(&topic->log.epoch, &envelope->epoch);
    if (envelope->parts.is_transient)
        topic_keep_passing(topic, envelope);
    if (is_of_this_log && (envelope->reason != RESET_NONE || envelope->offset <= topic->log.top)) {
        topic_tell_passing(topic);
        return;
    }
    if (is_of_this_log && envelope->offset == topic->log.top + 1 && !envelope->parts.is_transient) {
        struct message *message = envelope_make_message(envelope, topic->broker->now_ms, 0);
        if (message)
            topic_append(topic, message);
        else
            topic_open(topic);
        return;
    }
    if (is_of_this_log) {
        broker_count(&topic->broker->super, METRIC_BROKER_GAPS, 1);
        topic->is_gap = true;
    }
    if (envelope->reason == RESET_NONE && !envelope->parts.is_transient)
        topic_keep_early(topic, envelope);
    topic_open(topic);
}

void topic_receive(struct topic *topic, const char *bytes, size_t len)
{
    struct envelope envelope;
    broker_count(&topic->broker->super, METRIC_BROKER_RECEIVED, 1);
    if (presence_receive(topic, bytes, len))
        return;
    if (envelope_parse(&envelope, bytes, len)) {
        log_event(LOG_WARN, "envelope-refused", LOG_TEXT("channel", topic->name),
                  LOG_TEXT("reason", "it does not have the form of version 2"),
                  LOG_TEXT("action", "something else publishes on Sluice's own Pub/Sub channels"));
        return;
    }
    if (envelope_mend(&envelope))
        reading_tell_mended(topic->name);
    bool is_expected = topic->state >= TOPIC_SUBSCRIBING && topic->state <= TOPIC_LIVE;
    if (topic->state == TOPIC_LIVE && !topic->open)
        topic_follow(topic, &envelope);
    else if (is_expected && envelope.parts.is_transient)
        topic_keep_passing(topic, &envelope);
    else if (is_expected && envelope.reason == RESET_NONE)
        topic_keep_early(topic, &envelope);
    else if (topic->open)
        topic->has_hole = true;
}

void topic_append_own(struct topic *topic, const struct epoch *epoch, struct message *message)
{
    if (topic->state == TOPIC_LIVE && !topic->open && epoch_equals(&topic->log.epoch, epoch) &&
        message->offset == topic->log.top + 1)
        topic_append(topic, message_ref(message));
}

void topic_pass_own(struct topic *topic, const struct epoch *epoch, struct message *message, uint64_t number)
{
    if (topic->state != TOPIC_LIVE || topic->open || !epoch_equals(&topic->log.epoch, epoch) ||
        message->offset != topic->log.top || topic->passing.count > 0 || number <= topic->own_passed)
        return;
    topic->own_passed = number;
    topic_pass(topic, message_ref(message));
}
