/* SPDX-License-Identifier: MIT */
#include "broker/redis/lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/container.h"

/* Whoever has more keeps others behind them. */
#define LOOKUP_ADDRESSES 8u

struct lookup {
    struct list link; /* in the owner's list, which holds a reference */
    _Atomic unsigned references;
    int ended_fd; /* an eventfd, written to once */
    _Atomic bool has_ended;
    int err; /* from here on the thread's until it has ended */
    const char *why;
    struct address addresses[LOOKUP_ADDRESSES];
    size_t count;
    char text[];
};

static struct lookup *lookup_ref(struct lookup *lookup)
{
    atomic_fetch_add_explicit(&lookup->references, 1, memory_order_relaxed);
    return lookup;
}

void lookup_unref(struct lookup *lookup)
{
    if (!lookup || atomic_fetch_sub_explicit(&lookup->references, 1, memory_order_acq_rel) != 1)
        return;
    close(lookup->ended_fd);
    free(lookup);
}

static void *lookup_run(void *argument)
{
    struct lookup *lookup = argument;
    pthread_setname_np(pthread_self(), "sluice-lookup");
    lookup->count = LOOKUP_ADDRESSES;
    lookup->err = address_look_up(lookup->addresses, &lookup->count, lookup->text, &lookup->why);
    atomic_store_explicit(&lookup->has_ended, true, memory_order_release);
    (void)eventfd_write(lookup->ended_fd, 1); /* it cannot be full */
    lookup_unref(lookup);
    return NULL;
}

static int lookup_start_thread(struct lookup *lookup)
{
    pthread_t thread;
    pthread_attr_t attributes;
    int err = pthread_attr_init(&attributes);
    if (err)
        return -err;
    (void)pthread_attr_setdetachstate(&attributes,
                                      PTHREAD_CREATE_DETACHED); /* fails for no known state only */
    err = pthread_create(&thread, &attributes, lookup_run, lookup_ref(lookup));
    (void)pthread_attr_destroy(&attributes);
    if (err)
        lookup_unref(lookup);
    return -err;
}

static struct lookup *lookup_new(const char *address)
{
    size_t size = strlen(address) + 1;
    struct lookup *lookup = calloc(1, sizeof(*lookup) + size);
    if (!lookup)
        return NULL;
    list_init(&lookup->link);
    lookup->references = 1;
    memcpy(lookup->text, address, size);
    lookup->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->ended_fd < 0 || lookup_start_thread(lookup)) {
        lookup_unref(lookup);
        return NULL;
    }
    return lookup;
}

static bool lookup_has_ended(const struct lookup *lookup)
{
    return atomic_load_explicit(&lookup->has_ended, memory_order_acquire);
}

static void lookup_forget(struct lookup *lookup)
{
    list_remove(&lookup->link);
    lookup_unref(lookup);
}

struct lookup *lookup_begin(struct list *lookups, const char *address)
{
    list_for_each_safe (link, lookups) {
        struct lookup *lookup = container_of(link, struct lookup, link);
        if (lookup_has_ended(lookup))
            lookup_forget(lookup);
        else if (strcmp(lookup->text, address) == 0)
            return lookup_ref(lookup);
    }
    struct lookup *lookup = lookup_new(address);
    if (!lookup)
        return NULL;
    list_append(lookups, &lookup->link);
    return lookup_ref(lookup);
}

int lookup_watch(const struct lookup *lookup)
{
    int fd = fcntl(lookup->ended_fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int lookup_check(const struct lookup *lookup, const char **why)
{
    if (!lookup_has_ended(lookup))
        return -EAGAIN;
    *why = lookup->why;
    return lookup->err;
}

const struct address *lookup_find(const struct lookup *lookup, size_t index)
{
    return index < lookup->count ? &lookup->addresses[index] : NULL;
}

void lookup_forget_all(struct list *lookups)
{
    list_drain (link, lookups)
        lookup_forget(container_of(link, struct lookup, link));
}
