/* SPDX-License-Identifier: MIT */
#include "broker/redis/redis.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "broker/redis/ask.h"
#include "broker/redis/bridge.h"
#include "broker/redis/broker.h"
#include "broker/redis/cluster.h"
#include "broker/redis/listing.h"
#include "broker/redis/presence.h"
#include "broker/redis/publish.h"
#include "broker/redis/revocations.h"
#include "broker/redis/server.h"
#include "broker/redis/topic.h"
#include "broker/redis/trust.h"
#include "broker/redis/watch.h"
#include "config/options.h"

#define REDIS_EVENTS 64
#define REDIS_WAIT_MOST_MS 60000u

struct configure_letter {
    struct letter letter;
    struct redis_broker *broker;
    struct options *options;
    struct trust *trust;
};

static struct redis_broker *redis_of(struct broker *broker)
{
    return container_of(broker, struct redis_broker, super);
}

/* Requests. */

/* A submitted request carries its broker in `letter` only; the thread has but one. */
static _Thread_local struct redis_broker *redis_current;

/* What is let go is gone with the links. */
static void redis_refuse(struct broker_request *request)
{
    bool is_letting_go = request->operation == BROKER_DETACH || request->operation == BROKER_UNWATCH;
    broker_answer(request, is_letting_go ? ERROR_NONE : ERROR_STOPPING);
}

static void redis_serve(struct letter *letter)
{
    struct broker_request *request = container_of(letter, struct broker_request, letter);
    struct redis_broker *broker = redis_current;
    if (broker->is_cut) {
        redis_refuse(request);
        return;
    }
    switch (request->operation) {
    case BROKER_PUBLISH:
        publish_submit(broker, container_of(request, struct publish_request, super));
        break;
    case BROKER_ATTACH:
        topic_attach(broker, container_of(request, struct attach_request, super));
        break;
    case BROKER_DETACH:
        topic_detach(broker, container_of(request, struct attach_request, super));
        break;
    case BROKER_HISTORY:
        ask_history(broker, container_of(request, struct history_request, super));
        break;
    case BROKER_PURGE:
        ask_purge(broker, container_of(request, struct inspect_request, super));
        break;
    case BROKER_INSPECT:
        ask_inspect(broker, container_of(request, struct inspect_request, super));
        break;
    case BROKER_LIST:
        listing_begin(broker, container_of(request, struct list_request, super));
        break;
    case BROKER_WATCH:
        watch_begin(broker, container_of(request, struct watch_request, super));
        break;
    case BROKER_UNWATCH:
        watch_end(container_of(request, struct watch_request, super));
        break;
    case BROKER_LISTEN:
        revocations_listen(broker, container_of(request, struct listen_request, super));
        break;
    case BROKER_REVOKE:
        revocations_revoke(broker, container_of(request, struct revoke_request, super));
        break;
    case BROKER_PRESENCE:
        presence_apply(broker, container_of(request, struct presence_request, super));
        break;
    case BROKER_ROSTER:
        presence_list(broker, container_of(request, struct roster_request, super));
        break;
    }
}

static bool redis_submit(struct broker *super, struct broker_request *request)
{
    request->letter.deliver = redis_serve;
    mailbox_post(&redis_of(super)->mailbox, &request->letter);
    return false;
}

/* The thread. */

static void redis_handle_events(struct redis_broker *broker, struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            link_handle_events(events[i].data.ptr, events[i].events);
        else
            mailbox_acknowledge(&broker->mailbox);
    }
}

static void redis_apply_options(struct redis_broker *broker)
{
    broker->links.timeout_ms = broker->options->redis_timeout_ms;
    broker->generation++;
    presence_renew(broker);
    broker->links.trust = broker->trust;
}

static void redis_open(struct redis_broker *broker)
{
    const struct url *url = &broker->url;
    size_t count = url->kind == URL_SENTINEL ? 1 : url->count;
    timer_wheel_init(&broker->wheel, broker->now_ms);
    link_set_init(&broker->links, broker->epoll_fd, &broker->wheel, &broker->mailbox);
    broker->links.now_ms = broker->now_ms;
    redis_apply_options(broker);
    cluster_init(broker);
    for (size_t i = 0; i < count; i++)
        (void)server_new(broker, url->kind == URL_SENTINEL ? NULL : url->addresses[i], url->kind == URL_UNIX);
}

static void redis_close(struct redis_broker *broker)
{
    servers_close(broker);
    link_set_deinit(&broker->links);
}

/* Not where the letter is delivered: the mailbox is drained in the middle of reading from a link, too, which
 * then goes on telling channels of what it has read. Until the links are closed, who detaches has to be
 * heard. */
static void redis_cut_when_asked(struct redis_broker *broker)
{
    if (!broker->is_to_be_cut || broker->is_cut)
        return;
    broker->is_cut = true;
    redis_close(broker);
}

static void *redis_run(void *argument)
{
    struct redis_broker *broker = argument;
    struct epoll_event events[REDIS_EVENTS];
    bool has_more = false;
    redis_current = broker;
    pthread_setname_np(pthread_self(), "sluice-redis");
    broker->now_ms = clock_monotonic_ms();
    redis_open(broker);
    while (!broker->is_stopping) {
        uint64_t wait_ms = timer_wheel_wait_ms(&broker->wheel, clock_monotonic_ms(), REDIS_WAIT_MOST_MS);
        int count = epoll_wait(broker->epoll_fd, events, REDIS_EVENTS, has_more ? 0 : (int)wait_ms);
        broker->now_ms = clock_monotonic_ms();
        broker->links.now_ms = broker->now_ms;
        redis_handle_events(broker, events, count);
        mailbox_drain(&broker->mailbox);
        timer_wheel_run(&broker->wheel, broker->now_ms);
        has_more = link_set_run(&broker->links);
        cluster_sweep(broker);
        redis_cut_when_asked(broker);
    }
    redis_close(broker);
    return NULL;
}

static void redis_deliver_options(struct letter *letter)
{
    struct configure_letter *configure = container_of(letter, struct configure_letter, letter);
    struct redis_broker *broker = configure->broker;
    options_unref(broker->options);
    broker->options = configure->options;
    trust_unref(broker->trust);
    broker->trust = configure->trust;
    redis_apply_options(broker);
    list_for_each (link, &broker->servers)
        server_renew_times(container_of(link, struct redis_server, link));
    free(configure);
}

static int redis_configure(struct broker *super, struct options *options, char fault[BROKER_FAULT_MAX])
{
    static_assert(TRUST_FAULT_MAX <= BROKER_FAULT_MAX, "a fault of the certificates fits");
    struct redis_broker *broker = redis_of(super);
    struct configure_letter *configure = calloc(1, sizeof(*configure));
    if (!configure) {
        snprintf(fault, BROKER_FAULT_MAX, "there is no memory for the broker's options");
        return -ENOMEM;
    }
    int err = broker->url.is_tls ? trust_new(&configure->trust, options, fault) : 0;
    if (err) {
        free(configure);
        return err;
    }
    configure->letter.deliver = redis_deliver_options;
    configure->broker = broker;
    configure->options = options_ref(options);
    mailbox_post(&broker->mailbox, &configure->letter);
    return 0;
}

static void redis_deliver_stop(struct letter *letter)
{
    container_of(letter, struct redis_broker, stop)->is_stopping = true;
}

static void redis_deliver_cut(struct letter *letter)
{
    container_of(letter, struct redis_broker, cut)->is_to_be_cut = true;
}

static void redis_cut(struct broker *super)
{
    struct redis_broker *broker = redis_of(super);
    broker->cut.deliver = redis_deliver_cut;
    mailbox_post(&broker->mailbox, &broker->cut);
}

static bool redis_is_ready(struct broker *super)
{
    return atomic_load_explicit(&redis_of(super)->is_ready, memory_order_acquire);
}

/* Without its thread. */
static void redis_free(struct redis_broker *broker)
{
    servers_close(broker);
    revocations_deinit(broker);
    presence_deinit(broker);
    mailbox_deinit(&broker->mailbox);
    close(broker->epoll_fd);
    url_deinit(&broker->url);
    trust_unref(broker->trust);
    options_unref(broker->options);
    free(broker);
}

static void redis_stop(struct broker *super)
{
    struct redis_broker *broker = redis_of(super);
    broker->stop.deliver = redis_deliver_stop;
    mailbox_post(&broker->mailbox, &broker->stop);
    pthread_join(broker->thread, NULL);
    redis_free(broker);
}

static const struct broker_ops redis_ops = {
    .scheme = "redis",
    .submit = redis_submit,
    .configure = redis_configure,
    .is_ready = redis_is_ready,
    .cut = redis_cut,
    .stop = redis_stop,
};

static int redis_watch_mailbox(struct redis_broker *broker)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    broker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (broker->epoll_fd < 0)
        return -errno;
    return epoll_ctl(broker->epoll_fd, EPOLL_CTL_ADD, broker->mailbox.wake_fd, &event) ? -errno : 0;
}

static int redis_start(struct redis_broker *broker, char fault[URL_FAULT_MAX])
{
    char trust_fault[TRUST_FAULT_MAX];
    int err = mailbox_init(&broker->mailbox);
    if (!err && url_parse(&broker->url, broker->options->broker, fault))
        return -EINVAL;
    if (!err && broker->url.is_tls && trust_new(&broker->trust, broker->options, trust_fault)) {
        snprintf(fault, URL_FAULT_MAX, "%.250s", trust_fault);
        return -EINVAL;
    }
    if (!err)
        err = redis_watch_mailbox(broker);
    if (!err)
        err = bridge_init(broker);
    if (!err)
        err = revocations_init(broker);
    if (!err)
        err = presence_init(broker);
    if (!err)
        err = -pthread_create(&broker->thread, NULL, redis_run, broker);
    if (err)
        snprintf(fault, URL_FAULT_MAX, "cannot start: %s", strerror(-err));
    return err;
}

struct broker *redis_broker_new(struct options *options, char fault[URL_FAULT_MAX])
{
    struct redis_broker *broker = calloc(1, sizeof(*broker));
    if (!broker) {
        snprintf(fault, URL_FAULT_MAX, "no memory");
        return NULL;
    }
    broker->super.ops = &redis_ops;
    broker->options = options_ref(options);
    broker->epoll_fd = -1;
    list_init(&broker->servers);
    list_init(&broker->homeless);
    list_init(&broker->watch_scans);
    list_init(&broker->bridged_publishes);
    random_word(broker->node, REDIS_NODE_LEN);
    if (redis_start(broker, fault)) {
        redis_free(broker);
        return NULL;
    }
    return &broker->super;
}
