/* SPDX-License-Identifier: MIT */
/* How long the memory broker's lock is held, with CHANNELS channels: `make bench-lock` prints a table. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/table.h"
#include "broker/memory/memory.h"
#include "broker/memory/store.h"
#include "config/options.h"
#include "core/hub.h"
#include "core/watcher.h"

#define HOLDS_MOST (16u << 20)

int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __real_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock);

static uint64_t began_ns;
static uint32_t *holds_ns;
static size_t hold_count;

/* The time of the thread, not of the day: while the processor is another's nothing is held longer by us. */
static uint64_t thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    int err = __real_pthread_mutex_lock(lock);
    began_ns = thread_ns();
    return err;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
    uint64_t held_ns = thread_ns() - began_ns;
    if (hold_count < HOLDS_MOST)
        holds_ns[hold_count++] = (uint32_t)held_ns;
    return __real_pthread_mutex_unlock(lock);
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void report(const char *what)
{
    qsort(holds_ns, hold_count, sizeof(holds_ns[0]), compare);
    size_t last = hold_count - 1;
    printf("| %s | %zu | %.1f | %.1f | %.1f |\n", what, hold_count, holds_ns[last / 2] / 1e3,
           holds_ns[(size_t)((double)last * 0.999)] / 1e3, holds_ns[last] / 1e3);
    hold_count = 0;
}

static struct options *options;
static struct broker *broker;
static struct mailbox mailbox;
static struct timer_wheel wheel;
static struct hub hub;
static uint64_t found;
static bool is_ready;

static struct channel_terms find_terms(const void *context, struct text name)
{
    (void)context;
    (void)name;
    return (struct channel_terms){.kept = {1000, 1u << 30, 3600000}};
}

static void publish(const char *name, size_t size, uint64_t ttl_ms)
{
    static const char data[1000];
    const struct message_parts parts = {.type = MESSAGE_BINARY, .data = data, .size = size, .ttl_ms = ttl_ms};
    struct publish_item item = {.channel = (char *)(uintptr_t)name,
                                .channel_len = (uint8_t)strlen(name),
                                .message = message_new(&parts)};
    struct publish_request request = {.count = 1, .items = &item};
    (void)hub_submit(&hub, &request.super, BROKER_PUBLISH, NULL); /* it answers in the call */
}

static void publish_to_all(unsigned channels, uint64_t ttl_ms)
{
    char name[64];
    for (unsigned i = 0; i < channels; i++) {
        snprintf(name, sizeof(name), "bench/%u/%u", i % 1000, i);
        publish(name, 100, ttl_ms);
    }
}

static void list_all(void)
{
    struct list_request request = {.limit = 1000};
    do {
        (void)hub_submit(&hub, &request.super, BROKER_LIST, NULL);
        if (request.count > 0)
            strcpy(request.after, request.entries[request.count - 1].name);
        free(request.entries);
    } while (request.has_more);
}

static void watcher_found(struct watcher *watcher, const char *name, size_t len, bool is_new)
{
    (void)watcher;
    (void)name;
    (void)len;
    (void)is_new;
    found++;
}

static void watcher_ready(struct watcher *watcher, enum error_code error)
{
    (void)watcher;
    (void)error;
    is_ready = true;
}

static void watcher_ended(struct watcher *watcher)
{
    (void)watcher;
}

static const struct watcher_ops watcher_ops = {
    .found = watcher_found, .ready = watcher_ready, .ended = watcher_ended};

static void watch_all(void)
{
    static struct watcher watcher;
    watcher_begin(&watcher, &hub, &watcher_ops, "bench/", 6);
    while (!is_ready)
        mailbox_drain(&mailbox);
    watcher_end(&watcher);
    mailbox_drain(&mailbox);
}

static void purge(const char *name)
{
    struct inspect_request request = {.channel.name_len = strlen(name)};
    strcpy(request.channel.name, name);
    (void)hub_submit(&hub, &request.super, BROKER_PURGE, NULL);
}

/* Until so many messages are left, but the broker must have freed the others too. */
static void tend_until(uint64_t messages)
{
    uint64_t wait_ms = 0;
    while (broker->counters[METRIC_MESSAGES] > messages || wait_ms == 0)
        wait_ms = broker->ops->tend(broker);
}

static void configure(void)
{
    char fault[BROKER_FAULT_MAX];
    if (broker->ops->configure(broker, options, fault)) {
        fprintf(stderr, "%s\n", fault);
        exit(1);
    }
}

int main(int count, char **arguments)
{
    const struct hub_settings settings = {.find_terms = find_terms};
    unsigned channels = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 10) : 1000000;
    holds_ns = malloc(HOLDS_MOST * sizeof(holds_ns[0]));
    options = options_new();
    if (!holds_ns || !options || random_init())
        return 1;
    table_key_init();
    memset(holds_ns, 0, HOLDS_MOST * sizeof(holds_ns[0]));
    options->history_size = 2u * channels;
    options->history_bytes = 16ull << 30;
    options->memory_limit_bytes = 16ull << 30;
    broker = memory_broker_new(options);
    if (!broker || mailbox_init(&mailbox))
        return 1;
    mailbox_own(&mailbox);
    timer_wheel_init(&wheel, clock_monotonic_ms());
    hub_init(&hub, broker, &mailbox, &wheel, &settings);
    printf("| %u channels | holds | median µs | p99.9 µs | worst µs |\n|---|---|---|---|---|\n", channels);
    hold_count = 0;
    publish_to_all(channels, 0);
    report("publish, each to a new channel");
    publish_to_all(channels, 0);
    report("publish again");
    list_all();
    report("list all, pages of 1,000");
    watch_all();
    report("watch a prefix with all below");
    for (unsigned i = 0; i < channels; i++)
        publish("large", 100, 1 + i % 1000);
    report("publish to one channel, lives of up to 1 s");
    tend_until(2ull * channels);
    report("these expire");
    for (unsigned i = 0; i < channels; i++)
        publish("large", 100, 0);
    hold_count = 0;
    purge("large");
    report("purge a channel with as many messages");
    tend_until(2ull * channels);
    report("its messages are freed");
    options->memory_limit_bytes = message_memory_bytes() / 2;
    configure();
    publish("small", 100, 0);
    report("a publish evicts half of all");
    options->memory_limit_bytes = 16ull << 30;
    configure();
    tend_until(UINT64_MAX);
    hold_count = 0;
    publish_to_all(channels, 1000);
    uint64_t until_ms = clock_monotonic_ms() + 1000;
    while (clock_monotonic_ms() < until_ms)
        ;
    hold_count = 0;
    tend_until(channels);
    report("a message of each channel expires");
    configure();
    hold_count = 0;
    tend_until(UINT64_MAX);
    report("a reload finds what each channel keeps");
    broker->ops->stop(broker);
    mailbox_deinit(&mailbox);
    return 0;
}
