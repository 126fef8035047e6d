/* SPDX-License-Identifier: MIT */
#include "broker/memory/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/memory/log.h"
#include "config/options.h"

/* How often time is looked after, at least. */
#define MEMORY_TEND_MS 250u

/* Who is told of the channels below a prefix. */
struct watch {
    struct mailbox *mailbox;
    struct watcher *watcher;
    const char *prefix; /* the watcher's */
    size_t prefix_len;
};

struct memory_broker {
    struct broker super;
    pthread_mutex_t lock; /* of all below */
    struct options *options;
    struct store store;
    struct watch *watches;
    size_t watch_count;
};

static struct memory_broker *memory_of(struct broker *broker)
{
    return container_of(broker, struct memory_broker, super);
}

/* Nobody is rung while the lock is held. */
static void memory_enter(struct memory_broker *memory)
{
    pthread_mutex_lock(&memory->lock);
    mailbox_hold_rings();
    memory->store.now_ms = clock_monotonic_ms();
}

static void memory_leave(struct memory_broker *memory)
{
    broker_show(&memory->super, METRIC_CHANNELS, memory->store.count);
    broker_show(&memory->super, METRIC_MESSAGES, memory->store.message_count);
    broker_show(&memory->super, METRIC_EVICTED, memory->store.evicted);
    pthread_mutex_unlock(&memory->lock);
    mailbox_ring_held();
}

static void memory_apply_options(struct memory_broker *memory)
{
    const struct options *options = memory->options;
    struct store *store = &memory->store;
    store->retention =
        (struct retention){options->history_size, options->history_bytes, options->history_ttl_ms};
    store->memory_limit_bytes = options->memory_limit_bytes;
    store->channel_ttl_ms = options->channel_ttl_ms;
    store->idempotency_time_ms = options->idempotency_time_ms;
}

/* Publishing. */

static void memory_feed_attached(struct log *log, struct message *message)
{
    for (unsigned i = 0; i < log->attachment_count; i++) {
        const struct attachment *to = &log->attachments[i];
        /* Without memory for the letter the shard sees a hole with the next one and reads it again from the
         * log. */
        (void)broker_feed_message(to->mailbox, to->channel, message);
    }
}

static enum error_code memory_append(struct memory_broker *memory, struct log *log, struct publish_item *item)
{
    struct message *message = item->message;
    message->time_ms = clock_wall_ms();
    message_ref(message);
    if (log_append(log, message)) {
        message_unref(message);
        return ERROR_OUT_OF_MEMORY;
    }
    item->epoch = log->epoch;
    item->offset = message->offset;
    item->time_ms = message->time_ms;
    /* An accepted message whose key cannot be remembered stays accepted: a repeat is then a second message,
     * as without a key. */
    if (item->key)
        (void)log_remember_key(log, item->key, item->key_len, message);
    broker_count(&memory->super, METRIC_PUBLISHED, 1);
    memory_feed_attached(log, message);
    return ERROR_NONE;
}

static enum error_code memory_publish_one(struct memory_broker *memory, struct publish_item *item)
{
    struct store *store = &memory->store;
    struct log *log = store_get(store, item->channel, item->channel_len);
    if (!log)
        return ERROR_OUT_OF_MEMORY;
    const struct publish_key *key = item->key ? log_find_key(log, item->key, item->key_len) : NULL;
    if (key) {
        item->is_duplicate = true;
        item->epoch = log->epoch;
        item->offset = key->offset;
        item->time_ms = key->time_ms;
        broker_count(&memory->super, METRIC_DUPLICATES, 1);
        return ERROR_NONE;
    }
    if (!store_make_room(store, log))
        return ERROR_MEMORY_LIMIT;
    return memory_append(memory, log, item);
}

static void memory_publish(struct memory_broker *memory, struct publish_request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        struct publish_item *item = &request->items[i];
        if (!item->message)
            continue;
        memory_enter(memory);
        item->error = memory_publish_one(memory, item);
        memory_leave(memory);
        if (item->error != ERROR_NONE)
            broker_count(&memory->super, METRIC_PUBLISH_REFUSED, 1);
        message_unref(item->message);
        item->message = NULL;
    }
}

/* Attaching and reading. */

/* Gives `ring` the log's messages [from, to], the newest `most` of them. */
static enum error_code memory_copy(const struct log *log, uint64_t from, uint64_t to, uint64_t most,
                                   struct ring *ring)
{
    size_t begin = ring_find(&log->ring, from);
    size_t end = to == UINT64_MAX ? log->ring.count : ring_find(&log->ring, to + 1);
    if (end > begin && end - begin > most)
        begin = end - (size_t)most;
    return ring_copy(ring, &log->ring, begin, end, log->store->now_ms) ? ERROR_OUT_OF_MEMORY : ERROR_NONE;
}

static enum error_code memory_attach(struct memory_broker *memory, struct attach_request *request)
{
    struct store *store = &memory->store;
    if (!store_find(store, request->name, request->name_len) && !store_make_room(store, NULL))
        return ERROR_MEMORY_LIMIT;
    struct log *log = store_get(store, request->name, request->name_len);
    if (!log || log_attach(log, request->super.reply_to, request->channel))
        return ERROR_OUT_OF_MEMORY;
    request->epoch = log->epoch;
    request->top = log->top;
    request->oldest = log_oldest(log);
    enum error_code error = memory_copy(log, 0, UINT64_MAX, request->tail_count, &request->tail);
    if (error != ERROR_NONE)
        log_detach(log, request->super.reply_to, request->channel);
    return error;
}

static enum error_code memory_detach(struct memory_broker *memory, struct attach_request *request)
{
    struct log *log = store_find(&memory->store, request->name, request->name_len);
    if (log)
        log_detach(log, request->super.reply_to, request->channel);
    return ERROR_NONE;
}

static enum error_code memory_history(struct memory_broker *memory, struct history_request *request)
{
    struct log *log = store_find(&memory->store, request->name, request->name_len);
    if (!log)
        return ERROR_NO_CHANNEL;
    request->epoch = log->epoch;
    request->top = log->top;
    request->oldest = log_oldest(log);
    if (request->to < request->from)
        return ERROR_NONE;
    return memory_copy(log, request->from, request->to, UINT64_MAX, &request->messages);
}

/* Looking and purging. */

static enum error_code memory_purge(struct memory_broker *memory, struct inspect_request *request)
{
    struct log *log = store_find(&memory->store, request->name, request->name_len);
    if (!log)
        return ERROR_NO_CHANNEL;
    request->messages = log_purge(log);
    for (unsigned i = 0; i < log->attachment_count; i++) {
        const struct attachment *to = &log->attachments[i];
        if (broker_feed_reset(to->mailbox, to->channel, RESET_PURGED, &log->epoch, log->top, log_oldest(log)))
            return ERROR_OUT_OF_MEMORY;
    }
    return ERROR_NONE;
}

static enum error_code memory_inspect(struct memory_broker *memory, struct inspect_request *request)
{
    struct log *log = store_find(&memory->store, request->name, request->name_len);
    if (!log)
        return ERROR_NO_CHANNEL;
    request->epoch = log->epoch;
    request->messages = log->ring.count;
    request->bytes = log->ring.bytes;
    request->oldest = log_oldest(log);
    request->top = log->top;
    request->last_published_ms = log->last_published_ms;
    return ERROR_NONE;
}

static int memory_compare_logs(const void *a, const void *b)
{
    return strcmp((*(struct log *const *)a)->name, (*(struct log *const *)b)->name);
}

static bool memory_is_listed(const struct log *log, const struct list_request *request)
{
    return strncmp(log->name, request->prefix, strlen(request->prefix)) == 0 &&
           strcmp(log->name, request->after) > 0;
}

static void memory_fill_entry(struct list_entry *entry, const struct log *log)
{
    *entry = (struct list_entry){
        .name_len = log->name_len,
        .epoch = log->epoch,
        .messages = log->ring.count,
        .bytes = log->ring.bytes,
        .top = log->top,
        .last_published_ms = log->last_published_ms,
    };
    memcpy(entry->name, log->name, log->name_len + 1u);
}

static enum error_code memory_list(struct memory_broker *memory, struct list_request *request)
{
    struct log **found = malloc((memory->store.count + 1) * sizeof(struct log *));
    struct log *log;
    struct log *next;
    size_t count = 0;
    if (!found)
        return ERROR_OUT_OF_MEMORY;
    HASH_ITER (hh, memory->store.logs, log, next) {
        if (memory_is_listed(log, request))
            found[count++] = log;
    }
    qsort(found, count, sizeof(struct log *), memory_compare_logs);
    request->has_more = count > request->limit;
    request->count = request->has_more ? request->limit : count;
    request->entries = malloc((request->count + 1) * sizeof(*request->entries));
    for (size_t i = 0; request->entries && i < request->count; i++)
        memory_fill_entry(&request->entries[i], found[i]);
    free(found);
    return request->entries ? ERROR_NONE : ERROR_OUT_OF_MEMORY;
}

/* Watching. */

static bool memory_is_below(const struct log *log, const struct watch *watch)
{
    return log->name_len > watch->prefix_len && memcmp(log->name, watch->prefix, watch->prefix_len) == 0;
}

/* Without memory for the letter a watcher misses that channel; nothing tells it later. */
static void memory_log_begun(struct store *store, const struct log *log)
{
    const struct memory_broker *memory = container_of(store, struct memory_broker, store);
    for (size_t i = 0; i < memory->watch_count; i++) {
        const struct watch *watch = &memory->watches[i];
        if (memory_is_below(log, watch))
            (void)broker_tell_name(watch->mailbox, watch->watcher, log->name, log->name_len, true);
    }
}

static enum error_code memory_watch(struct memory_broker *memory, const struct watch_request *request)
{
    struct watch *watches = realloc(memory->watches, (memory->watch_count + 1) * sizeof(*watches));
    if (!watches)
        return ERROR_OUT_OF_MEMORY;
    memory->watches = watches;
    const struct watch watch = {request->super.reply_to, request->watcher, request->prefix,
                                request->prefix_len};
    struct log *log;
    struct log *next;
    HASH_ITER (hh, memory->store.logs, log, next) {
        if (memory_is_below(log, &watch) &&
            broker_tell_name(watch.mailbox, watch.watcher, log->name, log->name_len, false))
            return ERROR_OUT_OF_MEMORY;
    }
    watches[memory->watch_count++] = watch;
    return ERROR_NONE;
}

static enum error_code memory_unwatch(struct memory_broker *memory, const struct watch_request *request)
{
    for (size_t i = 0; i < memory->watch_count; i++) {
        if (memory->watches[i].watcher != request->watcher)
            continue;
        memory->watches[i] = memory->watches[--memory->watch_count];
        break;
    }
    return ERROR_NONE;
}

/* The engine. */

static enum error_code memory_serve(struct memory_broker *memory, struct broker_request *request)
{
    switch (request->operation) {
    case BROKER_PUBLISH:
        break; /* holds the lock for each message */
    case BROKER_ATTACH:
        return memory_attach(memory, container_of(request, struct attach_request, super));
    case BROKER_DETACH:
        return memory_detach(memory, container_of(request, struct attach_request, super));
    case BROKER_HISTORY:
        return memory_history(memory, container_of(request, struct history_request, super));
    case BROKER_PURGE:
        return memory_purge(memory, container_of(request, struct inspect_request, super));
    case BROKER_INSPECT:
        return memory_inspect(memory, container_of(request, struct inspect_request, super));
    case BROKER_LIST:
        return memory_list(memory, container_of(request, struct list_request, super));
    case BROKER_WATCH:
        return memory_watch(memory, container_of(request, struct watch_request, super));
    case BROKER_UNWATCH:
        return memory_unwatch(memory, container_of(request, struct watch_request, super));
    }
    return ERROR_INTERNAL;
}

/* The answer to who lets go comes behind what was fed before, and that to a watcher behind the names. */
static bool memory_is_answered_behind(enum broker_operation operation)
{
    return operation == BROKER_DETACH || operation == BROKER_WATCH || operation == BROKER_UNWATCH;
}

static bool memory_submit(struct broker *broker, struct broker_request *request)
{
    struct memory_broker *memory = memory_of(broker);
    if (request->operation == BROKER_PUBLISH) {
        memory_publish(memory, container_of(request, struct publish_request, super));
        return true;
    }
    memory_enter(memory);
    request->error = memory_serve(memory, request);
    bool is_behind = memory_is_answered_behind(request->operation);
    if (is_behind)
        broker_answer(request, request->error);
    memory_leave(memory);
    return !is_behind;
}

static uint64_t memory_tend(struct broker *broker)
{
    struct memory_broker *memory = memory_of(broker);
    struct store *store = &memory->store;
    memory_enter(memory);
    timer_wheel_run(&store->wheel, store->now_ms);
    uint64_t wait_ms = timer_wheel_wait_ms(&store->wheel, store->now_ms, MEMORY_TEND_MS);
    memory_leave(memory);
    return wait_ms;
}

static int memory_start(struct broker *broker, char *error, size_t error_size)
{
    (void)broker;
    (void)error;
    (void)error_size; /* there is nothing that could fail */
    return 0;
}

static int memory_configure(struct broker *broker, struct options *options)
{
    struct memory_broker *memory = memory_of(broker);
    memory_enter(memory);
    options_unref(memory->options);
    memory->options = options_ref(options);
    memory_apply_options(memory);
    memory_leave(memory);
    return 0;
}

static bool memory_is_ready(struct broker *broker)
{
    (void)broker;
    return true;
}

static void memory_stop(struct broker *broker)
{
    struct memory_broker *memory = memory_of(broker);
    store_deinit(&memory->store);
    pthread_mutex_destroy(&memory->lock);
    free(memory->watches);
    options_unref(memory->options);
    free(memory);
}

static const struct broker_ops memory_ops = {
    .scheme = "memory",
    .start = memory_start,
    .submit = memory_submit,
    .tend = memory_tend,
    .configure = memory_configure,
    .is_ready = memory_is_ready,
    .stop = memory_stop,
};

struct broker *memory_broker_new(struct options *options)
{
    struct memory_broker *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return NULL;
    pthread_mutex_init(&memory->lock, NULL);
    memory->super.ops = &memory_ops;
    memory->options = options_ref(options);
    store_init(&memory->store);
    memory->store.now_ms = clock_monotonic_ms();
    timer_wheel_init(&memory->store.wheel, memory->store.now_ms);
    memory->store.begun = memory_log_begun;
    memory_apply_options(memory);
    return &memory->super;
}
