/* SPDX-License-Identifier: MIT */
#include "broker/memory/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Memory of a log beside what its struct says: its share of the table and of malloc. */
#define LOG_OVERHEAD_BYTES 64u

static size_t log_size(const struct log *log)
{
    return sizeof(*log) + log->name_len + 1 + LOG_OVERHEAD_BYTES;
}

void store_init(struct store *store)
{
    *store = (struct store){0};
    list_init(&store->idle);
}

void store_deinit(struct store *store)
{
    struct log *log;
    struct log *next;
    HASH_ITER (hh, store->logs, log, next) {
        store_drop(log);
    }
}

struct log *store_find(struct store *store, const char *name, size_t len)
{
    struct log *log;
    HASH_FIND(hh, store->logs, name, len, log);
    return log;
}

uint64_t log_oldest(const struct log *log)
{
    return log->ring.count > 0 ? ring_at(&log->ring, 0)->offset : log->top + 1;
}

static void log_free_key(struct log *log, struct publish_key *key)
{
    uint64_t bytes = sizeof(*key) + key->len;
    HASH_DEL(log->keys, key);
    list_remove(&key->link);
    log->store->log_bytes -= bytes;
    free(key);
}

static void log_expire_keys(struct log *log)
{
    struct list *link;
    while ((link = list_first(&log->keys_by_age))) {
        struct publish_key *key = container_of(link, struct publish_key, link);
        if (key->expires_ms > log->store->now_ms)
            break;
        log_free_key(log, key);
    }
}

/* When something of the log is to go: a message, a key, or the log itself once it is empty and nobody uses
 * it. */
static void log_arm_expiry(struct log *log)
{
    uint64_t at_ms = ring_next_expiry_ms(&log->ring);
    struct list *link = list_first(&log->keys_by_age);
    if (link && container_of(link, struct publish_key, link)->expires_ms < at_ms)
        at_ms = container_of(link, struct publish_key, link)->expires_ms;
    if (at_ms == UINT64_MAX && log->attachment_count == 0)
        at_ms = log->idle_since_ms + log->store->channel_ttl_ms;
    if (at_ms != UINT64_MAX)
        timer_arm(&log->store->wheel, &log->expiry, at_ms);
    else
        timer_stop(&log->store->wheel, &log->expiry);
}

static void log_expire(struct timer *timer)
{
    struct log *log = container_of(timer, struct log, expiry);
    struct store *store = log->store;
    store->message_count -= ring_expire(&log->ring, store->now_ms);
    log_expire_keys(log);
    bool is_empty = log->ring.count == 0 && list_is_empty(&log->keys_by_age) && log->attachment_count == 0;
    if (is_empty && log->idle_since_ms + store->channel_ttl_ms <= store->now_ms)
        store_drop(log);
    else
        log_arm_expiry(log);
}

/* Idle logs are in order of when they were last used, so that the longest idle is the first. */
static void log_touch(struct log *log)
{
    log->idle_since_ms = log->store->now_ms;
    list_remove(&log->idle_link);
    if (log->attachment_count == 0)
        list_append(&log->store->idle, &log->idle_link);
}

struct log *store_get(struct store *store, const char *name, size_t len)
{
    struct log *log = store_find(store, name, len);
    if (log)
        return log;
    log = calloc(1, sizeof(*log) + len + 1);
    if (!log)
        return NULL;
    log->store = store;
    log->epoch = epoch_new(name, len);
    ring_init(&log->ring);
    list_init(&log->idle_link);
    list_init(&log->keys_by_age);
    timer_init(&log->expiry, log_expire);
    log->name_len = (uint8_t)len;
    memcpy(log->name, name, len);
    HASH_ADD_KEYPTR(hh, store->logs, log->name, len, log);
    if (!log->hh.tbl) {
        free(log);
        return NULL;
    }
    store->count++;
    store->log_bytes += log_size(log);
    log_touch(log);
    log_arm_expiry(log);
    if (store->begun)
        store->begun(store, log);
    return log;
}

void store_drop(struct log *log)
{
    struct store *store = log->store;
    struct list *link;
    HASH_DEL(store->logs, log);
    store->count--;
    store->message_count -= log->ring.count;
    store->log_bytes -= log_size(log);
    list_remove(&log->idle_link);
    timer_stop(&store->wheel, &log->expiry);
    while ((link = list_first(&log->keys_by_age)))
        log_free_key(log, container_of(link, struct publish_key, link));
    ring_deinit(&log->ring);
    free(log->attachments);
    free(log);
}

bool store_make_room(struct store *store, const struct log *but)
{
    while (message_memory_bytes() + store->log_bytes > store->memory_limit_bytes) {
        struct list *link = list_first(&store->idle);
        if (link && container_of(link, struct log, idle_link) == but)
            link = link->next == &store->idle ? NULL : link->next;
        if (!link)
            return false;
        store_drop(container_of(link, struct log, idle_link));
        store->evicted++;
    }
    return true;
}

int log_append(struct log *log, struct message *message)
{
    struct store *store = log->store;
    uint64_t ttl_ms = store->retention.ttl_ms;
    if (message->ttl_ms > 0 && message->ttl_ms < ttl_ms)
        ttl_ms = message->ttl_ms;
    message->offset = log->top + 1;
    message->expires_ms = store->now_ms + ttl_ms;
    bool is_first_to_go = message->expires_ms < ring_next_expiry_ms(&log->ring);
    int err = ring_append(&log->ring, message);
    if (err)
        return err;
    log->top++;
    log->last_published_ms = message->time_ms;
    store->message_count++;
    store->message_count -= ring_trim(&log->ring, &store->retention);
    log_touch(log);
    if (is_first_to_go || !timer_is_armed(&log->expiry))
        log_arm_expiry(log);
    return 0;
}

size_t log_purge(struct log *log)
{
    size_t count = log->ring.count;
    struct list *link;
    log->store->message_count -= count;
    ring_deinit(&log->ring);
    while ((link = list_first(&log->keys_by_age)))
        log_free_key(log, container_of(link, struct publish_key, link));
    log->epoch = epoch_new(log->name, log->name_len);
    log->top = 0;
    log_touch(log);
    log_arm_expiry(log);
    return count;
}

const struct publish_key *log_find_key(struct log *log, const char *key, size_t len)
{
    struct publish_key *found;
    log_expire_keys(log);
    HASH_FIND(hh, log->keys, key, len, found);
    return found;
}

int log_remember_key(struct log *log, const char *text, size_t len, const struct message *message)
{
    struct publish_key *key = malloc(sizeof(*key) + len);
    if (!key)
        return -ENOMEM;
    *key = (struct publish_key){
        .expires_ms = log->store->now_ms + log->store->idempotency_time_ms,
        .offset = message->offset,
        .time_ms = message->time_ms,
        .len = (uint8_t)len,
    };
    memcpy(key->text, text, len);
    HASH_ADD_KEYPTR(hh, log->keys, key->text, len, key);
    if (!key->hh.tbl) {
        free(key);
        return -ENOMEM;
    }
    list_init(&key->link);
    list_append(&log->keys_by_age, &key->link);
    log->store->log_bytes += sizeof(*key) + len;
    log_arm_expiry(log);
    return 0;
}

int log_attach(struct log *log, struct mailbox *mailbox, struct channel *channel)
{
    size_t size = (log->attachment_count + 1) * sizeof(*log->attachments);
    struct attachment *attachments = realloc(log->attachments, size);
    if (!attachments)
        return -ENOMEM;
    attachments[log->attachment_count++] = (struct attachment){mailbox, channel};
    log->attachments = attachments;
    log_touch(log);
    log_arm_expiry(log);
    return 0;
}

void log_detach(struct log *log, const struct mailbox *mailbox, const struct channel *channel)
{
    for (unsigned i = 0; i < log->attachment_count; i++) {
        if (log->attachments[i].mailbox != mailbox || log->attachments[i].channel != channel)
            continue;
        log->attachments[i] = log->attachments[--log->attachment_count];
        break;
    }
    log_touch(log);
    log_arm_expiry(log);
}
