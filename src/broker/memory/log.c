/* SPDX-License-Identifier: MIT */
#include "broker/memory/log.h"

#include <Judy.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

/* Memory of a log beside what its struct says: its share of the index and of malloc. */
#define LOG_OVERHEAD_BYTES 64u
/* Messages over the limits that one more pushes out at once; any others go with the time. */
#define LOG_TRIM_MOST 64u

static size_t log_size(const struct log *log)
{
    return sizeof(*log) + log->name_len + 1 + LOG_OVERHEAD_BYTES;
}

/* Messages. */

uint64_t log_oldest(const struct log *log)
{
    const struct message *first = shelf_first(&log->messages);
    return first ? first->offset : log->top + 1;
}

struct log_state log_state(const struct log *log)
{
    return (struct log_state){.epoch = log->epoch, .top = log->top, .oldest = log_oldest(log)};
}

void log_inspect(const struct log *log, struct inspection *inspection)
{
    *inspection = (struct inspection){
        .name_len = log->name_len,
        .epoch = log->epoch,
        .messages = log->count,
        .bytes = log->bytes,
        .oldest = log_oldest(log),
        .top = log->top,
        .last_published_ms = log->last_published_ms,
    };
    memcpy(inspection->name, log->name, log->name_len + 1u);
}

/* By the end of its life, and among those that end together by the last bits of the offset. When two agree in
 * that too, the second is not found by its life, and goes when it is the oldest. */
#define LOG_LIFE_BITS 20u
_Static_assert(sizeof(Word_t) == sizeof(uint64_t), "an index by offset takes 64 bits");

static Word_t log_life_key(const struct message *message)
{
    return message->expires_ms << LOG_LIFE_BITS | (message->offset & ((1u << LOG_LIFE_BITS) - 1));
}

static void log_note_life(struct log *log, const struct message *message)
{
    PPvoid_t slot = JudyLIns(&log->lives, log_life_key(message), PJE0);
    if (slot && slot != PPJERR && !*slot)
        *slot = (void *)(uintptr_t)message->offset;
}

static void log_forget_life(struct log *log, const struct message *message)
{
    PPvoid_t slot = log->lives ? JudyLGet(log->lives, log_life_key(message), PJE0) : NULL;
    if (slot && (uintptr_t)*slot == message->offset)
        (void)JudyLDel(&log->lives, log_life_key(message), PJE0); /* it is there */
}

/* The one whose life is over first among those with a shorter one. */
static struct message *log_first_life(const struct log *log)
{
    Word_t key = 0;
    PPvoid_t life = log->lives ? JudyLFirst(log->lives, &key, PJE0) : NULL;
    return life ? shelf_get(&log->messages, (uintptr_t)*life) : NULL;
}

static void log_remove(struct log *log, struct message *message)
{
    log_forget_life(log, message);
    shelf_remove(&log->messages, message);
    log->count--;
    log->bytes -= message->footprint;
    message_unref(message);
}

static bool log_is_over_limits(const struct log *log)
{
    return retention_is_exceeded(&log->limits.retention, log->count, log->bytes);
}

/* The next to go: the oldest while there are too many, or one whose time is over. */
static struct message *log_next_to_go(const struct log *log)
{
    struct message *first = shelf_first(&log->messages);
    struct message *life = log_first_life(log);
    if (life && life->expires_ms < first->expires_ms && !log_is_over_limits(log))
        return life;
    return first;
}

static uint64_t log_next_expiry_ms(const struct log *log)
{
    const struct message *next = log_next_to_go(log);
    if (!next)
        return UINT64_MAX;
    return log_is_over_limits(log) ? log->store->now_ms : next->expires_ms;
}

int log_reserve(struct log *log)
{
    return shelf_reserve(&log->messages, log->top + 1, log->count);
}

void log_release(struct log *log)
{
    shelf_release(&log->messages);
}

int log_append(struct log *log, struct message *message)
{
    struct store *store = log->store;
    bool has_own_life = message->ttl_ms > 0 && message->ttl_ms < log->limits.retention.ttl_ms;
    if (log_reserve(log))
        return -ENOMEM;
    message->offset = ++log->top;
    shelf_put(&log->messages, message);
    message->expires_ms = store->now_ms + (has_own_life ? message->ttl_ms : log->limits.retention.ttl_ms);
    if (has_own_life)
        log_note_life(log, message);
    log->count++;
    log->bytes += message->footprint;
    log->last_published_ms = message->time_ms;
    store->message_count++;
    uint64_t expires_ms = message->expires_ms;
    for (unsigned i = 0; i < LOG_TRIM_MOST && log_is_over_limits(log); i++) {
        log_remove(log, shelf_first(&log->messages));
        store->message_count--;
    }
    log_touch(log);
    if (!timer_is_armed(&log->expiry) || expires_ms < log->due_ms || log_is_over_limits(log))
        log_arm_expiry(log);
    return 0;
}

int log_restore(struct log *log, struct message *message, uint64_t offset, uint64_t left_ms)
{
    if (offset == 0 || offset > log->top || shelf_find(&log->messages, offset))
        return -EINVAL;
    if (shelf_reserve(&log->messages, offset, log->count))
        return -ENOMEM;
    message->offset = offset;
    shelf_put(&log->messages, message);
    if (__builtin_add_overflow(log->store->now_ms, left_ms, &message->expires_ms))
        message->expires_ms = UINT64_MAX;
    if (message->ttl_ms > 0 && message->ttl_ms < log->limits.retention.ttl_ms)
        log_note_life(log, message);
    log->count++;
    log->bytes += message->footprint;
    log->store->message_count++;
    return 0;
}

int log_copy(const struct log *log, uint64_t from, uint64_t *to, struct ring *ring)
{
    uint64_t offset = number_greater(from, log_oldest(log));
    if (*to - offset >= LOG_PAGE_MOST && *to > offset)
        *to = offset + LOG_PAGE_MOST - 1;
    struct message *message;
    for (; (message = shelf_find(&log->messages, offset)) && message->offset <= *to;
         offset = message->offset + 1) {
        if (message->expires_ms <= log->store->now_ms)
            continue;
        int err = ring_append_or_drop(ring, message_ref(message));
        if (err)
            return err;
    }
    return 0;
}

/* Keys. */

static void log_free_key(struct log *log, struct publish_key *key)
{
    (void)JudySLDel(&log->keys, (const uint8_t *)key->text, PJE0); /* it is there */
    list_remove(&key->link);
    log->store->log_bytes -= sizeof(*key) + key->len;
    free(key);
}

static struct publish_key *log_oldest_key(const struct log *log)
{
    struct list *link = list_first(&log->keys_by_age);
    return link ? container_of(link, struct publish_key, link) : NULL;
}

/* One whose time is over goes. */
static struct publish_key *log_look_for_key(struct log *log, const char *key, size_t len)
{
    char text[UINT8_MAX + 1];
    memcpy(text, key, len);
    text[len] = '\0';
    PPvoid_t slot = JudySLGet(log->keys, (const uint8_t *)text, PJE0);
    struct publish_key *found = slot ? *slot : NULL;
    if (!found || found->expires_ms > log->store->now_ms)
        return found;
    log_free_key(log, found);
    return NULL;
}

const struct publish_key *log_find_key(struct log *log, const char *key, size_t len)
{
    return log_look_for_key(log, key, len);
}

int log_restore_key(struct log *log, struct text text, uint64_t offset, int64_t time_ms, uint64_t left_ms)
{
    const size_t len = text.len;
    struct publish_key *key = malloc(sizeof(*key) + len + 1);
    if (!key)
        return -ENOMEM;
    *key = (struct publish_key){
        .expires_ms = log->store->now_ms + left_ms,
        .offset = offset,
        .time_ms = time_ms,
        .len = (uint8_t)len,
    };
    memcpy(key->text, text.bytes, len);
    key->text[len] = '\0';
    PPvoid_t slot = JudySLIns(&log->keys, (const uint8_t *)key->text, PJE0);
    if (!slot || slot == PPJERR || *slot) {
        free(key);
        return slot && slot != PPJERR ? -EEXIST : -ENOMEM;
    }
    *slot = key;
    list_init(&key->link);
    list_append(&log->keys_by_age, &key->link);
    log->store->log_bytes += sizeof(*key) + len;
    if (key->expires_ms < log->due_ms)
        log_arm_expiry(log);
    return 0;
}

int log_remember_key(struct log *log, const char *text, size_t len, uint64_t offset, int64_t time_ms)
{
    return log_restore_key(log, (struct text){text, len}, offset, time_ms, log->limits.idempotency_time_ms);
}

void log_forget_key(struct log *log, const char *text, size_t len)
{
    struct publish_key *key = log_look_for_key(log, text, len);
    if (key)
        log_free_key(log, key);
}

/* Time. */

/* When something of the log is to go: a message, a key, or the log itself once it is empty and nobody uses
 * it. */
void log_arm_expiry(struct log *log)
{
    const struct publish_key *key = log_oldest_key(log);
    uint64_t at_ms = log_next_expiry_ms(log);
    if (key && key->expires_ms < at_ms)
        at_ms = key->expires_ms;
    if (at_ms == UINT64_MAX && log->attachments.count == 0)
        at_ms = log->idle_since_ms + log->limits.channel_ttl_ms;
    log->due_ms = at_ms;
    if (at_ms != UINT64_MAX)
        timer_arm(&log->store->wheel, &log->expiry, at_ms);
    else
        timer_stop(&log->store->wheel, &log->expiry);
}

static bool log_has_passed_away(const struct log *log)
{
    return log->count == 0 && list_is_empty(&log->keys_by_age) && log->attachments.count == 0 &&
           log->idle_since_ms + log->limits.channel_ttl_ms <= log->store->now_ms;
}

/* Drops what is due of the log, as far as the slice goes. */
static bool log_is_empty(const struct log *log)
{
    return log->count == 0 && list_is_empty(&log->keys_by_age);
}

static void log_line_up(struct log *log)
{
    struct store *store = log->store;
    list_remove(&log->link);
    if (log->attachments.count == 0)
        list_append(log_is_empty(log) ? &store->empty : &store->idle, &log->link);
}

static void log_expire(struct timer *timer)
{
    struct log *log = container_of(timer, struct log, expiry);
    struct store *store = log->store;
    struct publish_key *key;
    for (; store->steps > 1 && log_next_expiry_ms(log) <= store->now_ms; store->steps--) {
        log_remove(log, log_next_to_go(log));
        store->message_count--;
    }
    for (; store->steps > 1 && (key = log_oldest_key(log)) && key->expires_ms <= store->now_ms;
         store->steps--)
        log_free_key(log, key);
    if (log_has_passed_away(log)) {
        store_drop(log);
        return;
    }
    log_arm_expiry(log);
    if (log_is_empty(log))
        log_line_up(log);
}

/* Idle logs are in order of when they were last used, so that the longest idle is the first. */
void log_touch(struct log *log)
{
    log->idle_since_ms = log->store->now_ms;
    log_line_up(log);
}

void log_restored(struct log *log)
{
    log_line_up(log);
    log_arm_expiry(log);
}

/* Life and attachments. */

static void log_find_limits(struct log *log)
{
    log->store->limit(log->store, (struct text){log->name, log->name_len}, &log->limits);
    log->generation = log->store->generation;
}

void log_renew_limits(struct log *log)
{
    if (log->generation == log->store->generation)
        return;
    log_find_limits(log);
    log_arm_expiry(log);
}

struct log *log_new(struct store *store, const char *name, size_t len)
{
    struct log *log = calloc(1, sizeof(*log) + len + 1);
    if (!log)
        return NULL;
    log->store = store;
    log->epoch = epoch_new(name, len);
    list_init(&log->link);
    list_init(&log->keys_by_age);
    timer_init(&log->expiry, log_expire);
    log->name_len = (uint8_t)len;
    memcpy(log->name, name, len);
    log_find_limits(log);
    store->log_bytes += log_size(log);
    return log;
}

void log_free_step(struct log *log)
{
    struct message *message = shelf_first(&log->messages);
    struct publish_key *key = log_oldest_key(log);
    if (message) {
        log_remove(log, message);
    } else if (key) {
        log_free_key(log, key);
    } else {
        list_remove(&log->link);
        log->store->log_bytes -= log_size(log);
        free(log->attachments.items);
        free(log);
    }
}

int log_attach(struct log *log, const struct attach_request *request)
{
    int err = attachments_add(&log->attachments, request);
    log_touch(log);
    log_arm_expiry(log);
    return err;
}

void log_detach(struct log *log, const struct attach_request *request)
{
    attachments_remove(&log->attachments, request);
    log_touch(log);
    log_arm_expiry(log);
}
