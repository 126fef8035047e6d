/* SPDX-License-Identifier: MIT */
#include "broker/memory/memory.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/memory/log.h"
#include "config/options.h"

#define MEMORY_WAIT_MOST_MS 60000u

/* Who is told of the channels below a prefix. */
struct watch {
    struct mailbox *mailbox;
    struct watcher *watcher;
    const char *prefix; /* the watcher's */
    size_t prefix_len;
};

struct memory_broker {
    struct broker super;
    struct mailbox mailbox;
    pthread_t thread;
    bool is_started;
    bool is_stopping; /* on the broker's thread */
    struct letter stop;
    struct options *options;
    struct store store;
    struct watch *watches;
    size_t watch_count;
};

struct configure_letter {
    struct letter letter;
    struct memory_broker *memory;
    struct options *options;
};

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

static enum error_code memory_publish(struct memory_broker *memory, struct publish_request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        struct publish_item *item = &request->items[i];
        if (!item->message)
            continue;
        item->error = memory_publish_one(memory, item);
        if (item->error != ERROR_NONE)
            broker_count(&memory->super, METRIC_PUBLISH_REFUSED, 1);
        message_unref(item->message);
        item->message = NULL;
    }
    return ERROR_NONE;
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

/* The thread. */

static enum error_code memory_serve(struct memory_broker *memory, struct broker_request *request)
{
    switch (request->operation) {
    case BROKER_PUBLISH:
        return memory_publish(memory, container_of(request, struct publish_request, super));
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

/* A submitted request carries its broker in `letter` only; the mailbox it came through says which. */
static _Thread_local struct memory_broker *memory_current;

static void memory_show_store(struct memory_broker *memory)
{
    broker_show(&memory->super, METRIC_CHANNELS, memory->store.count);
    broker_show(&memory->super, METRIC_MESSAGES, memory->store.message_count);
    broker_show(&memory->super, METRIC_EVICTED, memory->store.evicted);
}

static void memory_deliver(struct letter *letter)
{
    struct broker_request *request = container_of(letter, struct broker_request, letter);
    enum error_code error = memory_serve(memory_current, request);
    memory_show_store(memory_current);
    broker_answer(request, error);
}

static void *memory_run(void *argument)
{
    struct memory_broker *memory = argument;
    struct store *store = &memory->store;
    memory_current = memory;
    pthread_setname_np(pthread_self(), "sluice-memory");
    while (!memory->is_stopping) {
        struct pollfd wait = {.fd = memory->mailbox.wake_fd, .events = POLLIN};
        uint64_t wait_ms = timer_wheel_wait_ms(&store->wheel, clock_monotonic_ms(), MEMORY_WAIT_MOST_MS);
        if (poll(&wait, 1, (int)wait_ms) > 0)
            mailbox_acknowledge(&memory->mailbox);
        store->now_ms = clock_monotonic_ms();
        mailbox_drain(&memory->mailbox);
        timer_wheel_run(&store->wheel, store->now_ms);
        memory_show_store(memory);
    }
    return NULL;
}

static int memory_start(struct broker *broker, char *error, size_t error_size)
{
    struct memory_broker *memory = container_of(broker, struct memory_broker, super);
    memory->store.now_ms = clock_monotonic_ms();
    timer_wheel_init(&memory->store.wheel, memory->store.now_ms);
    int err = pthread_create(&memory->thread, NULL, memory_run, memory);
    if (err)
        snprintf(error, error_size, "cannot start the broker's thread: %s", strerror(err));
    memory->is_started = err == 0;
    return -err;
}

static void memory_submit(struct broker *broker, struct broker_request *request)
{
    struct memory_broker *memory = container_of(broker, struct memory_broker, super);
    request->letter.deliver = memory_deliver;
    mailbox_post(&memory->mailbox, &request->letter);
}

static void memory_take_options(struct letter *letter)
{
    struct configure_letter *configure = container_of(letter, struct configure_letter, letter);
    struct memory_broker *memory = configure->memory;
    options_unref(memory->options);
    memory->options = configure->options;
    memory_apply_options(memory);
    free(configure);
}

static void memory_take_stop(struct letter *letter)
{
    container_of(letter, struct memory_broker, stop)->is_stopping = true;
}

static int memory_configure(struct broker *broker, struct options *options)
{
    struct memory_broker *memory = container_of(broker, struct memory_broker, super);
    struct configure_letter *configure = malloc(sizeof(*configure));
    if (!configure)
        return -ENOMEM;
    configure->letter.deliver = memory_take_options;
    configure->memory = memory;
    configure->options = options_ref(options);
    mailbox_post(&memory->mailbox, &configure->letter);
    return 0;
}

static bool memory_is_ready(struct broker *broker)
{
    return container_of(broker, struct memory_broker, super)->is_started;
}

static void memory_stop(struct broker *broker)
{
    struct memory_broker *memory = container_of(broker, struct memory_broker, super);
    if (memory->is_started) {
        memory->stop.deliver = memory_take_stop;
        mailbox_post(&memory->mailbox, &memory->stop);
        pthread_join(memory->thread, NULL);
    }
    mailbox_deinit(&memory->mailbox);
    store_deinit(&memory->store);
    free(memory->watches);
    options_unref(memory->options);
    free(memory);
}

static const struct broker_ops memory_ops = {
    .scheme = "memory",
    .start = memory_start,
    .submit = memory_submit,
    .configure = memory_configure,
    .is_ready = memory_is_ready,
    .stop = memory_stop,
};

struct broker *memory_broker_new(struct options *options)
{
    struct memory_broker *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return NULL;
    if (mailbox_init(&memory->mailbox)) {
        free(memory);
        return NULL;
    }
    memory->super.ops = &memory_ops;
    memory->options = options_ref(options);
    store_init(&memory->store);
    memory->store.begun = memory_log_begun;
    memory_apply_options(memory);
    return &memory->super;
}
