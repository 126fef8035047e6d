/* SPDX-License-Identifier: MIT */
#include "broker/memory/store.h"

#include <Judy.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/memory/log.h"

/* Logs that ask for their limits in one slice: looking them up takes longer than another step. */
#define STORE_RENEWALS (STORE_SLICE / 8)

void store_init(struct store *store)
{
    *store = (struct store){0};
    list_init(&store->idle);
    list_init(&store->empty);
    list_init(&store->trash);
}

/* Returns whether there is nothing left. */
static bool store_empty_trash_step(struct store *store)
{
    struct list *link = list_first(&store->trash);
    if (link)
        log_free_step(container_of(link, struct log, link));
    return list_is_empty(&store->trash);
}

void store_deinit(struct store *store)
{
    char name[CHANNEL_NAME_MAX + 1] = "";
    struct log *log;
    while ((log = store_next(store, name, true)))
        store_drop(log);
    while (!store_empty_trash_step(store))
        ;
}

static struct log *store_look_up(const struct store *store, const char *name, size_t len)
{
    char index[CHANNEL_NAME_MAX + 1];
    memcpy(index, name, len);
    index[len] = '\0';
    PPvoid_t slot = JudySLGet(store->logs, (const uint8_t *)index, PJE0);
    return slot ? *slot : NULL;
}

struct log *store_find(struct store *store, const char *name, size_t len)
{
    struct log **recent = &store->recent[len % STORE_RECENT];
    struct log *log = *recent;
    if (!log || log->name_len != len || memcmp(log->name, name, len) != 0) {
        log = store_look_up(store, name, len);
        if (!log)
            return NULL;
        *recent = log;
    }
    log_renew_limits(log);
    return log;
}

struct log *store_next(const struct store *store, char name[CHANNEL_NAME_MAX + 1], bool is_included)
{
    PPvoid_t slot = is_included ? JudySLFirst(store->logs, (uint8_t *)name, PJE0)
                                : JudySLNext(store->logs, (uint8_t *)name, PJE0);
    return slot ? *slot : NULL;
}

/* Puts the log into its place in the index, in place of one that had its name. Returns 0 or -ENOMEM. */
static int store_place(struct store *store, struct log *log)
{
    PPvoid_t slot = JudySLIns(&store->logs, (const uint8_t *)log->name, PJE0);
    if (!slot || slot == PPJERR)
        return -ENOMEM;
    *slot = log;
    store->count++;
    log_touch(log);
    log_arm_expiry(log);
    return 0;
}

struct log *store_get(struct store *store, const char *name, size_t len)
{
    struct log *log = store_find(store, name, len);
    if (log)
        return log;
    log = log_new(store, name, len);
    if (!log)
        return NULL;
    if (store_place(store, log)) {
        log_free_step(log);
        return NULL;
    }
    if (store->begun && store->begun(store, log)) {
        store_drop(log);
        return NULL;
    }
    return log;
}

static void store_discard(struct log *log)
{
    struct store *store = log->store;
    struct log **recent = &store->recent[log->name_len % STORE_RECENT];
    if (*recent == log)
        *recent = NULL;
    store->count--;
    store->discarded++;
    store->message_count -= log->count;
    timer_stop(&store->wheel, &log->expiry);
    list_remove(&log->link);
    list_append(&store->trash, &log->link);
}

void store_drop(struct log *log)
{
    struct store *store = log->store;
    (void)JudySLDel(&store->logs, (const uint8_t *)log->name, PJE0); /* it is there */
    store_discard(log);
    if (store->forgotten)
        store->forgotten(store, (struct text){log->name, log->name_len});
}

struct log *store_purge(struct log *log)
{
    struct log *fresh = log_new(log->store, log->name, log->name_len);
    if (!fresh)
        return NULL;
    fresh->last_published_ms = log->last_published_ms;
    fresh->attachments = log->attachments;
    log->attachments = (struct attachments){0};
    (void)store_place(log->store, fresh); /* the name is there: nothing is allocated for it */
    store_discard(log);
    return fresh;
}

static bool store_is_full(const struct store *store)
{
    return message_memory_bytes() + store->log_bytes > store->memory_limit_bytes;
}

static struct log *store_first_but(const struct list *idle, const struct log *but)
{
    struct list *link = list_first(idle);
    if (link && container_of(link, struct log, link) == but)
        link = link->next == idle ? NULL : link->next;
    return link ? container_of(link, struct log, link) : NULL;
}

static struct log *store_longest_idle(const struct store *store, const struct log *but)
{
    struct log *kept = store_first_but(&store->idle, but);
    struct log *empty = store_first_but(&store->empty, but);
    if (!kept || !empty)
        return kept ? kept : empty;
    return empty->idle_since_ms <= kept->idle_since_ms ? empty : kept;
}

int store_make_room(struct store *store, const char *but_name, size_t but_len)
{
    const struct log *but = store_is_full(store) ? store_find(store, but_name, but_len) : NULL;
    for (unsigned steps = 0; store_is_full(store); steps++) {
        if (steps == STORE_SLICE)
            return -EAGAIN;
        if (!list_is_empty(&store->trash)) {
            (void)store_empty_trash_step(store); /* what is left is seen in the next step */
            continue;
        }
        struct log *oldest = store_longest_idle(store, but);
        if (!oldest)
            return -ENOSPC;
        store_drop(oldest);
        store->evicted++;
    }
    return 0;
}

static int store_compare_idle(const void *a, const void *b)
{
    const struct log *const *left = a, *const *right = b;
    return ((*left)->idle_since_ms > (*right)->idle_since_ms) -
           ((*left)->idle_since_ms < (*right)->idle_since_ms);
}

static void store_sort(struct list *logs, struct log **room)
{
    size_t count = 0;
    list_for_each (link, logs)
        room[count++] = container_of(link, struct log, link);
    qsort(room, count, sizeof(struct log *), store_compare_idle);
    for (size_t i = 0; i < count; i++) {
        list_remove(&room[i]->link);
        list_append(logs, &room[i]->link);
    }
}

void store_sort_idle(struct store *store)
{
    struct log **room = malloc((store->count + 1) * sizeof(*room));
    if (!room)
        return;
    store_sort(&store->idle, room);
    store_sort(&store->empty, room);
    free(room);
}

bool store_admit(struct store *store, const char *name, size_t len)
{
    bool may_grow = store->channels_most == 0 || store->count < store->channels_most;
    if (may_grow || store_find(store, name, len))
        return true;
    struct list *link = list_first(&store->empty);
    if (!link || store->count > store->channels_most)
        return false;
    store_drop(container_of(link, struct log, link));
    store->evicted++;
    return true;
}

void store_renew_limits(struct store *store)
{
    store->generation++;
    store->is_renewing = true;
    store->renewed[0] = '\0';
}

static void store_renew_slice(struct store *store)
{
    for (unsigned i = 0; store->is_renewing && i < STORE_RENEWALS; i++) {
        struct log *log = store_next(store, store->renewed, store->renewed[0] == '\0');
        if (log)
            log_renew_limits(log);
        else
            store->is_renewing = false;
    }
}

bool store_tend(struct store *store)
{
    /* Half of the slice for each, so that neither waits for the end of the other. */
    bool is_empty = list_is_empty(&store->trash);
    for (unsigned i = 0; !is_empty && i < STORE_SLICE / 2; i++)
        is_empty = store_empty_trash_step(store);
    bool has_more = true;
    for (store->steps = STORE_SLICE / 2; has_more && store->steps > 0; store->steps--)
        has_more = timer_wheel_step(&store->wheel, store->now_ms);
    store_renew_slice(store);
    return has_more || store->is_renewing || !list_is_empty(&store->trash);
}
