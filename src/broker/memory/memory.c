/* SPDX-License-Identifier: MIT */
#include "broker/memory/memory.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/racks.h"
#include "broker/memory/estate.h"
#include "broker/memory/log.h"
#include "broker/memory/placing.h"
#include "broker/memory/presence.h"
#include "config/channel_options.h"

/* How often time is looked after, at least. */
#define MEMORY_TEND_MS 250u

/* Slices of what is due in one call, each with a hold of the lock of its own. */
#define MEMORY_TEND_SLICES 4u
/* Channels listed or told of in one hold of the lock. */
#define MEMORY_SLICE 128u

/* Who is told of the channels below a prefix. */
struct memory_watch {
    struct list link;     /* in memory.watches */
    struct racked racked; /* by its prefix */
    struct memory_broker *memory;
    struct watch_request *request; /* the watcher's; answered once all that are there have been told */
    struct mailbox *mailbox;
    struct letter letter; /* behind a slice of names: goes on with the next */
    bool has_begun;
    char name[CHANNEL_NAME_MAX + 1]; /* the last that was told */
};

struct memory_broker {
    struct broker super;
    pthread_mutex_t lock; /* of all below */
    struct options *options;
    struct store store;
    struct list watches;
    struct racks watches_by_prefix;
    struct revocation_listeners listeners;
    struct memory_presence presence;
    struct memory_revocations revocations;
    bool is_frozen; /* what is kept is told to another process, or has been */
    struct estate_giver giver;
    struct estate_taker taker;
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

static void memory_limit(const struct store *store, struct text name, struct log_limits *limits)
{
    struct channel_options found;
    const struct options *options = container_of(store, struct memory_broker, store)->options;
    channel_options_resolve(&found, options, name);
    *limits = (struct log_limits){
        .retention = {found.history_size, found.history_bytes, found.history_ttl_ms},
        .channel_ttl_ms = found.channel_ttl_ms,
        .idempotency_time_ms = found.idempotency_time_ms,
    };
    limits->has_too_many_trees = channel_trees_find(&limits->trees, options, name) != 0;
}

static void memory_apply_options(struct memory_broker *memory)
{
    memory->store.memory_limit_bytes = memory->options->memory_limit_bytes;
    memory->store.channels_most = memory->options->max_channels;
    memory_presence_renew(&memory->presence);
    store_renew_limits(&memory->store);
}

/* Publishing. */

/* What cannot be told, or not be known again when it is repeated, is not accepted. */
static enum error_code memory_place(struct memory_broker *memory, struct placing *placing,
                                    struct publish_item *item)
{
    struct message *message = item->message;
    struct log *log = placing->of[0].log;
    message->time_ms = clock_wall_ms();
    if (placing_prepare(placing, message))
        return ERROR_OUT_OF_MEMORY;
    const uint64_t offset = log->top + !message->is_transient;
    if (item->key && log_remember_key(log, item->key, item->key_len, offset, message->time_ms)) {
        placing_abandon(placing);
        return ERROR_OUT_OF_MEMORY;
    }
    if (placing_commit(placing)) {
        if (item->key)
            log_forget_key(log, item->key, item->key_len);
        return ERROR_OUT_OF_MEMORY;
    }
    item->epoch = log->epoch;
    item->offset = message->offset;
    item->time_ms = message->time_ms;
    broker_count(&memory->super, METRIC_PUBLISHED, 1);
    placing_tell(placing);
    return ERROR_NONE;
}

/* Slice by slice; between them others have the lock, and what is kept may be frozen. */
static enum error_code memory_make_room(struct memory_broker *memory, const char *but, size_t but_len)
{
    int err;
    while ((err = store_make_room(&memory->store, but, but_len)) == -EAGAIN) {
        memory_leave(memory);
        memory_enter(memory);
        if (memory->is_frozen)
            return ERROR_STOPPING;
    }
    return err ? ERROR_MEMORY_LIMIT : ERROR_NONE;
}

/* Whether there is room for a log of that name, and for more in it. `has_made_room` becomes true when logs
 * went for the memory that they took. */
static enum error_code memory_admit(struct memory_broker *memory, struct text name, bool *has_made_room)
{
    const uint64_t discarded = memory->store.discarded;
    enum error_code error = memory_make_room(memory, name.bytes, name.len);
    *has_made_room = *has_made_room || memory->store.discarded != discarded;
    if (error == ERROR_NONE && !store_admit(&memory->store, name.bytes, name.len)) {
        broker_count(&memory->super, METRIC_CHANNELS_REFUSED, 1);
        error = ERROR_CHANNEL_LIMIT;
    }
    return error;
}

/* The trees above a channel, which its log knows, if there is one. Returns 0 or -E2BIG. */
static int memory_find_trees(const struct memory_broker *memory, struct text name, const struct log *log,
                             struct channel_trees *trees)
{
    if (!log)
        return channel_trees_find(trees, memory->options, name);
    *trees = log->limits.trees;
    return log->limits.has_too_many_trees ? -E2BIG : 0;
}

/* Finds or makes the log of the channel, and that of each tree above it. Making room for one may take
 * another. */
static enum error_code memory_find_logs(struct memory_broker *memory, struct text name,
                                        struct placing *placing)
{
    struct store *store = &memory->store;
    struct channel_trees trees;
    const uint64_t discarded = store->discarded;
    bool has_made_room = false;
    struct log *known = store_find(store, name.bytes, name.len);
    if (memory_find_trees(memory, name, known, &trees))
        return ERROR_TOO_MANY_TREES;
    placing->count = 1u + trees.count;
    for (unsigned i = 0; i < placing->count; i++) {
        const struct text log = {name.bytes, i == 0 ? name.len : trees.lens[i - 1]};
        enum error_code error = memory_admit(memory, log, &has_made_room);
        if (error != ERROR_NONE)
            return error;
        bool is_known = i == 0 && known && store->discarded == discarded;
        placing->of[i].log = is_known ? known : store_get(store, log.bytes, log.len);
        if (!placing->of[i].log)
            return ERROR_OUT_OF_MEMORY;
    }
    if (placing->count == 1 || store->discarded == discarded)
        return ERROR_NONE;
    for (unsigned i = 0; i < placing->count; i++) {
        placing->of[i].log = store_find(store, name.bytes, i == 0 ? name.len : trees.lens[i - 1]);
        if (!placing->of[i].log)
            return has_made_room ? ERROR_MEMORY_LIMIT : ERROR_CHANNEL_LIMIT;
    }
    return ERROR_NONE;
}

static enum error_code memory_publish_one(struct memory_broker *memory, struct publish_item *item)
{
    const struct text name = {item->channel, item->channel_len};
    struct placing placing;
    if (memory->is_frozen)
        return ERROR_STOPPING;
    enum error_code error = memory_find_logs(memory, name, &placing);
    if (error == ERROR_STOPPING)
        return error;
    struct log *log =
        error == ERROR_NONE ? placing.of[0].log : store_find(&memory->store, name.bytes, name.len);
    if (!log)
        return error;
    const struct publish_key *key = item->key ? log_find_key(log, item->key, item->key_len) : NULL;
    if (!key)
        return error != ERROR_NONE ? error : memory_place(memory, &placing, item);
    item->is_duplicate = true;
    item->epoch = log->epoch;
    item->offset = key->offset;
    item->time_ms = key->time_ms;
    broker_count(&memory->super, METRIC_DUPLICATES, 1);
    return ERROR_NONE;
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

static enum error_code memory_attach(struct memory_broker *memory, struct attach_request *request)
{
    struct store *store = &memory->store;
    enum error_code error = ERROR_NONE;
    bool has_made_room = false;
    if (!store_find(store, request->name.bytes, request->name.len))
        error = memory_admit(memory, request->name, &has_made_room);
    if (error != ERROR_NONE)
        return error;
    struct log *log = store_get(store, request->name.bytes, request->name.len);
    if (!log || log_attach(log, request))
        return ERROR_OUT_OF_MEMORY;
    request->log = log_state(log);
    uint64_t to = log->top;
    uint64_t from = to > request->tail_count ? to - request->tail_count + 1 : 1;
    if (log_copy(log, from, &to, &request->tail) == 0)
        return ERROR_NONE;
    log_detach(log, request);
    return ERROR_OUT_OF_MEMORY;
}

static void memory_detach(struct memory_broker *memory, const struct attach_request *request)
{
    struct log *log = store_find(&memory->store, request->name.bytes, request->name.len);
    if (log)
        log_detach(log, request);
}

static enum error_code memory_history(struct memory_broker *memory, struct history_request *request)
{
    struct log *log = store_find(&memory->store, request->name.bytes, request->name.len);
    if (!log)
        return ERROR_NO_CHANNEL;
    request->log = log_state(log);
    if (request->to < request->from)
        return ERROR_NONE;
    return log_copy(log, request->from, &request->to, &request->messages) ? ERROR_OUT_OF_MEMORY : ERROR_NONE;
}

/* Looking and purging. */

static enum error_code memory_purge(struct memory_broker *memory, struct inspect_request *request)
{
    struct log *log = store_find(&memory->store, request->channel.name, request->channel.name_len);
    struct feed feed = {.reason = RESET_PURGED};
    if (!log)
        return ERROR_NO_CHANNEL;
    struct letter *letters;
    if (broker_reserve_feeds(&letters, &log->attachments, &feed))
        return ERROR_OUT_OF_MEMORY;
    request->channel.messages = log->count;
    log = store_purge(log);
    if (!log) {
        broker_release_feeds(letters);
        return ERROR_OUT_OF_MEMORY;
    }
    feed.log = log_state(log);
    broker_post_feeds(letters, &log->attachments, &feed);
    memory_presence_tell(&memory->presence, (struct text){log->name, log->name_len}, "purged");
    return ERROR_NONE;
}

static enum error_code memory_inspect(struct memory_broker *memory, struct inspect_request *request)
{
    const struct log *log = store_find(&memory->store, request->channel.name, request->channel.name_len);
    if (!log)
        return ERROR_NO_CHANNEL;
    log_inspect(log, &request->channel);
    return ERROR_NONE;
}

/* Adds a log to the list. Returns false when it is the end of what is asked for. */
static bool memory_list_one(struct list_request *request, const struct log *log)
{
    if (!log || strncmp(log->name, request->prefix, strlen(request->prefix)) != 0)
        return false;
    request->has_more = request->count == request->limit;
    if (!request->has_more)
        log_inspect(log, &request->entries[request->count++]);
    return !request->has_more;
}

static enum error_code memory_list(struct memory_broker *memory, struct list_request *request)
{
    char name[CHANNEL_NAME_MAX + 1];
    bool is_included = strcmp(request->after, request->prefix) < 0;
    bool goes_on = true;
    strcpy(name, is_included ? request->prefix : request->after);
    request->count = 0;
    request->has_more = false;
    request->entries = malloc(request->limit * sizeof(*request->entries));
    if (!request->entries)
        return ERROR_OUT_OF_MEMORY;
    while (goes_on) {
        memory_enter(memory);
        for (unsigned i = 0; goes_on && i < MEMORY_SLICE; i++, is_included = false)
            goes_on = memory_list_one(request, store_next(&memory->store, name, is_included));
        memory_leave(memory);
    }
    return ERROR_NONE;
}

/* Watching. */

static bool memory_is_below(const struct log *log, const struct memory_watch *watch)
{
    const struct watch_request *request = watch->request;
    return log->name_len > request->prefix_len &&
           memcmp(log->name, request->prefix, request->prefix_len) == 0;
}

static int memory_tell(const struct memory_watch *watch, const struct log *log, bool is_new)
{
    return broker_tell_name(watch->mailbox, watch->request->watcher, log->name, log->name_len, is_new);
}

static int memory_log_begun(struct store *store, const struct log *log)
{
    struct memory_broker *memory = container_of(store, struct memory_broker, store);
    const struct text name = {log->name, log->name_len};
    const struct rack *rack;
    size_t at = 0;
    int err = 0;
    while (!err && (rack = racks_find_above(&memory->watches_by_prefix, name, &at)))
        list_for_each (link, &rack->things)
            err = err ? err : memory_tell(container_of(link, struct memory_watch, racked.link), log, true);
    if (!err)
        memory_presence_tell(&memory->presence, name, "created");
    return err;
}

static void memory_log_forgotten(struct store *store, struct text name)
{
    memory_presence_tell(&container_of(store, struct memory_broker, store)->presence, name, "forgotten");
}

static void memory_forget_watch(struct memory_watch *watch)
{
    racks_take(&watch->memory->watches_by_prefix, &watch->racked);
    list_remove(&watch->link);
    free(watch);
}

/* Tells a slice of the channels that are there. */
static void memory_tell_slice(struct memory_watch *watch)
{
    struct broker_request *request = &watch->request->super;
    for (unsigned i = 0; i < MEMORY_SLICE; i++) {
        const struct log *log = store_next(&watch->memory->store, watch->name, !watch->has_begun);
        watch->has_begun = true;
        if (!log || !memory_is_below(log, watch)) {
            broker_answer(request, ERROR_NONE);
            return;
        }
        if (memory_tell(watch, log, false)) {
            memory_forget_watch(watch);
            broker_answer(request, ERROR_OUT_OF_MEMORY);
            return;
        }
    }
    mailbox_post(watch->mailbox, &watch->letter);
}

static void memory_go_on_telling(struct letter *letter)
{
    struct memory_watch *watch = container_of(letter, struct memory_watch, letter);
    struct memory_broker *memory = watch->memory;
    memory_enter(memory);
    memory_tell_slice(watch);
    memory_leave(memory);
}

static void memory_watch(struct memory_broker *memory, struct watch_request *request)
{
    struct memory_watch *watch = calloc(1, sizeof(*watch));
    const struct text prefix = {request->prefix, request->prefix_len};
    if (!watch || racks_put(&memory->watches_by_prefix, &watch->racked, prefix)) {
        free(watch);
        broker_answer(&request->super, ERROR_OUT_OF_MEMORY);
        return;
    }
    watch->memory = memory;
    watch->request = request;
    watch->mailbox = request->super.reply_to;
    watch->letter.deliver = memory_go_on_telling;
    memcpy(watch->name, request->prefix, request->prefix_len);
    request->known = watch;
    list_init(&watch->link);
    list_append(&memory->watches, &watch->link);
    memory_tell_slice(watch);
}

/* Revoking. Who listens does so from the start; what is kept is for the next process. */

static enum error_code memory_listen(struct memory_broker *memory, const struct listen_request *request)
{
    return revocation_listeners_add(&memory->listeners, request->super.reply_to, request->listener)
               ? ERROR_OUT_OF_MEMORY
               : ERROR_NONE;
}

static enum error_code memory_revoke(struct memory_broker *memory, const struct revoke_request *request)
{
    if (memory_revocations_add(&memory->revocations, &request->revocation, clock_wall_ms()))
        return ERROR_OUT_OF_MEMORY;
    if (revocation_listeners_tell(&memory->listeners, &request->revocation) == 0)
        return ERROR_NONE;
    memory_revocations_drop_last(&memory->revocations);
    return ERROR_OUT_OF_MEMORY;
}

/* The engine. */

/* What is told to another process may not change, and nobody may rely here on what holds there. Who reads
 * waits, and is let go in his turn. */
static bool memory_refuses(const struct memory_broker *memory, struct broker_request *request)
{
    static const enum error_code refusals[] = {
        [BROKER_ATTACH] = ERROR_STOPPING, [BROKER_HISTORY] = ERROR_BROKER_DOWN,
        [BROKER_PURGE] = ERROR_STOPPING,  [BROKER_REVOKE] = ERROR_STOPPING,
        [BROKER_ROSTER] = ERROR_NONE,
    };
    if (!memory->is_frozen || (size_t)request->operation >= ARRAY_LENGTH(refusals))
        return false;
    request->error = refusals[request->operation];
    return request->error != ERROR_NONE;
}

/* Returns whether the request is answered; with the lock. */
static bool memory_serve(struct memory_broker *memory, struct broker_request *request)
{
    if (memory_refuses(memory, request))
        return true;
    switch (request->operation) {
    case BROKER_ATTACH:
        request->error = memory_attach(memory, container_of(request, struct attach_request, super));
        return true;
    case BROKER_HISTORY:
        request->error = memory_history(memory, container_of(request, struct history_request, super));
        return true;
    case BROKER_PURGE:
        request->error = memory_purge(memory, container_of(request, struct inspect_request, super));
        return true;
    case BROKER_INSPECT:
        request->error = memory_inspect(memory, container_of(request, struct inspect_request, super));
        return true;
    case BROKER_LISTEN:
        request->error = memory_listen(memory, container_of(request, struct listen_request, super));
        return true;
    case BROKER_REVOKE:
        request->error = memory_revoke(memory, container_of(request, struct revoke_request, super));
        return true;
    case BROKER_PRESENCE:
        request->error =
            memory_presence_apply(&memory->presence, container_of(request, struct presence_request, super));
        return true;
    case BROKER_ROSTER:
        request->error =
            memory_presence_list(&memory->presence, container_of(request, struct roster_request, super));
        return true;
    /* These are answered behind what has been posted before. */
    case BROKER_DETACH:
        memory_detach(memory, container_of(request, struct attach_request, super));
        break;
    case BROKER_WATCH:
        memory_watch(memory, container_of(request, struct watch_request, super));
        return false;
    case BROKER_UNWATCH:
        memory_forget_watch(container_of(request, struct watch_request, super)->known);
        break;
    case BROKER_PUBLISH:
    case BROKER_LIST:
        return false; /* hold the lock for a while each */
    }
    broker_answer(request, ERROR_NONE);
    return false;
}

static bool memory_submit(struct broker *broker, struct broker_request *request)
{
    struct memory_broker *memory = memory_of(broker);
    if (request->operation == BROKER_PUBLISH) {
        memory_publish(memory, container_of(request, struct publish_request, super));
        return true;
    }
    if (request->operation == BROKER_LIST) {
        request->error = memory_list(memory, container_of(request, struct list_request, super));
        return true;
    }
    memory_enter(memory);
    bool is_answered = memory_serve(memory, request);
    memory_leave(memory);
    return is_answered;
}

static uint64_t memory_tend(struct broker *broker)
{
    struct memory_broker *memory = memory_of(broker);
    const struct store *store = &memory->store;
    uint64_t wait_ms = 0;
    for (unsigned i = 0; wait_ms == 0 && i < MEMORY_TEND_SLICES; i++) {
        memory_enter(memory);
        if (memory->is_frozen || !store_tend(&memory->store))
            wait_ms = memory->is_frozen ? MEMORY_TEND_MS
                                        : timer_wheel_wait_ms(&store->wheel, store->now_ms, MEMORY_TEND_MS);
        memory_leave(memory);
    }
    return wait_ms;
}

static int memory_configure(struct broker *broker, struct options *options, char fault[BROKER_FAULT_MAX])
{
    struct memory_broker *memory = memory_of(broker);
    (void)fault; /* nothing can fail */
    memory_enter(memory);
    options_unref(memory->options);
    memory->options = options_ref(options);
    memory_apply_options(memory);
    memory_leave(memory);
    return 0;
}

static bool memory_is_ready(struct broker *broker)
{
    struct memory_broker *memory = memory_of(broker);
    memory_enter(memory);
    bool is_ready = !memory->is_frozen;
    memory_leave(memory);
    return is_ready;
}

/* Handing over. */

static struct estate memory_estate(struct memory_broker *memory)
{
    return (struct estate){&memory->store, &memory->presence.roster, &memory->revocations,
                           &memory->listeners};
}

static void memory_freeze(struct broker *broker, bool is_frozen, uint64_t away_ms)
{
    struct memory_broker *memory = memory_of(broker);
    memory_enter(memory);
    memory->is_frozen = memory->presence.is_frozen = is_frozen;
    estate_giver_deinit(&memory->giver);
    estate_giver_init(&memory->giver, away_ms);
    memory_leave(memory);
}

static int memory_give(struct broker *broker, struct buf *to, size_t most)
{
    struct memory_broker *memory = memory_of(broker);
    const struct estate estate = memory_estate(memory);
    memory_enter(memory);
    int result = estate_give(&memory->giver, &estate, to, most);
    memory_leave(memory);
    return result;
}

static int memory_take(struct broker *broker, const struct handover *record, char fault[BROKER_FAULT_MAX])
{
    static_assert(ESTATE_FAULT_MAX <= BROKER_FAULT_MAX, "a fault of the state fits");
    struct memory_broker *memory = memory_of(broker);
    const struct estate estate = memory_estate(memory);
    memory_enter(memory);
    int err = estate_take(&memory->taker, &estate, record, fault);
    memory_leave(memory);
    return err;
}

static void memory_end_taking(struct broker *broker, bool is_good)
{
    struct memory_broker *memory = memory_of(broker);
    const struct estate estate = memory_estate(memory);
    memory_enter(memory);
    estate_taker_deinit(&memory->taker);
    if (!is_good)
        estate_forget(&estate);
    memory_leave(memory);
}

static const struct broker_handover memory_handover = {
    .freeze = memory_freeze,
    .give = memory_give,
    .take = memory_take,
    .end_taking = memory_end_taking,
};

static void memory_stop(struct broker *broker)
{
    struct memory_broker *memory = memory_of(broker);
    memory_presence_deinit(&memory->presence);
    memory->store.forgotten = NULL;
    estate_giver_deinit(&memory->giver);
    estate_taker_deinit(&memory->taker);
    store_deinit(&memory->store);
    memory_revocations_deinit(&memory->revocations);
    revocation_listeners_deinit(&memory->listeners);
    pthread_mutex_destroy(&memory->lock);
    list_drain (link, &memory->watches)
        memory_forget_watch(container_of(link, struct memory_watch, link));
    options_unref(memory->options);
    free(memory);
}

static const struct broker_ops memory_ops = {
    .scheme = "memory",
    .submit = memory_submit,
    .tend = memory_tend,
    .configure = memory_configure,
    .is_ready = memory_is_ready,
    .stop = memory_stop,
    .handover = &memory_handover,
};

struct broker *memory_broker_new(struct options *options)
{
    struct memory_broker *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return NULL;
    pthread_mutex_init(&memory->lock, NULL);
    memory->super.ops = &memory_ops;
    memory->options = options_ref(options);
    list_init(&memory->watches);
    store_init(&memory->store);
    memory->store.now_ms = clock_monotonic_ms();
    timer_wheel_init(&memory->store.wheel, memory->store.now_ms);
    memory->store.begun = memory_log_begun;
    memory->store.forgotten = memory_log_forgotten;
    memory_presence_init(&memory->presence, &memory->store, &memory->options);
    memory->store.limit = memory_limit;
    memory_apply_options(memory);
    return &memory->super;
}
