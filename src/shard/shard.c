/* SPDX-License-Identifier: MIT */
#include "shard/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SHARD_EVENTS 256
#define SHARD_WAIT_MOST_MS 60000u
/* How long subscribers are served before the loop looks at its mailbox, its door and its sockets again. */
#define SHARD_SERVE_NS 500000u
#define SHARD_DRAIN_STEP_MS 10u
/* What has not ended by itself this long after the drain is cut. */
#define SHARD_DRAIN_GRACE_MS 1000u

static _Thread_local struct shard *shard_of_thread;

struct shard *shard_current(void)
{
    return shard_of_thread;
}

void shard_count(struct shard *shard, enum metric metric, uint64_t by)
{
    /* Only this thread writes: no need for an atomic addition. */
    uint64_t value = atomic_load_explicit(&shard->counters[metric], memory_order_relaxed);
    atomic_store_explicit(&shard->counters[metric], value + by, memory_order_relaxed);
}

uint64_t shard_group_sum(const struct shard_group *group, enum metric metric)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < group->count; i++)
        sum += atomic_load_explicit(&group->shards[i].counters[metric], memory_order_relaxed);
    return sum;
}

void shard_reap(struct shard *shard, struct garbage *garbage, void (*release)(struct garbage *garbage))
{
    garbage->release = release;
    garbage->next = shard->garbage;
    shard->garbage = garbage;
}

static void shard_empty_garbage(struct shard *shard)
{
    struct garbage *garbage = shard->garbage;
    shard->garbage = NULL;
    while (garbage) {
        struct garbage *next = garbage->next;
        garbage->release(garbage);
        garbage = next;
    }
}

/* What the hub knows is shown as counters, so that other threads can read it. */
static void shard_show(struct shard *shard)
{
    const struct hub *hub = &shard->hub;
    const struct {
        enum metric metric;
        uint64_t value;
    } shown[] = {
        {METRIC_CONNECTIONS, shard->cells.client_count + shard->streams.count},
        {METRIC_CHANNELS_ATTACHED, hub->channel_count},
        {METRIC_SUBSCRIBERS_POLL, hub->subscriber_count[TRANSPORT_POLL]},
        {METRIC_SUBSCRIBERS_SSE, hub->subscriber_count[TRANSPORT_SSE]},
        {METRIC_SUBSCRIBERS_STREAM, hub->subscriber_count[TRANSPORT_STREAM]},
        {METRIC_SUBSCRIBERS_TCP, hub->subscriber_count[TRANSPORT_TCP]},
        {METRIC_RESETS, hub->resets_told},
        {METRIC_REFILLS, hub->refills},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(shown); i++)
        atomic_store_explicit(&shard->counters[shown[i].metric], shown[i].value, memory_order_relaxed);
}

static struct hub_settings shard_hub_settings(const struct options *options)
{
    return (struct hub_settings){
        .retention = {options->history_size, options->history_bytes, options->history_ttl_ms},
        .linger_ms = options->linger_time_ms,
    };
}

/* Stopping. */

static void shard_count_held(struct client *client)
{
    if (client->owner && client->owner->ops->is_held(client->owner))
        client->shard->drain_held++;
}

static void shard_count_held_socket(struct stream_socket *socket)
{
    if (stream_socket_is_held(socket))
        socket->shard->drain_held++;
}

/* Whether it is one more's turn to be let go, so that they go evenly over the drain time. */
static bool shard_lets_one_go(const struct shard *shard)
{
    uint64_t past_ms = shard->now_ms - shard->drain_begin_ms;
    uint64_t drain_ms = shard->options->drain_time_ms;
    uint64_t due = past_ms >= drain_ms ? UINT64_MAX : shard->drain_held * past_ms / drain_ms;
    return shard->drain_ended < due;
}

static void shard_drain_client(struct client *client)
{
    struct shard *shard = client->shard;
    if (!shard_lets_one_go(shard) || !client->owner || !client->owner->ops->is_held(client->owner))
        return;
    shard->drain_ended++;
    client->owner->ops->drain(client->owner);
}

static void shard_drain_socket(struct stream_socket *socket)
{
    if (!shard_lets_one_go(socket->shard) || !stream_socket_is_held(socket))
        return;
    socket->shard->drain_ended++;
    stream_socket_drain(socket);
}

static void shard_cut_client(struct client *client)
{
    if (client->owner)
        client->owner->ops->cut(client->owner);
}

/* What it can still be told without waiting, it is. */
static void shard_cut_socket(struct stream_socket *socket)
{
    if (!socket->is_drained)
        stream_socket_drain(socket);
    stream_socket_flush(socket);
    stream_socket_close(socket);
}

static void shard_begin_closing(struct shard *shard)
{
    shard->state = SHARD_CLOSING;
    cell_table_visit(&shard->cells, shard_cut_client);
    stream_table_visit(&shard->streams, shard_cut_socket);
    hub_close(&shard->hub);
}

/* Whether somebody here waits for the broker or for other shards. */
static bool shard_is_waiting(const struct shard *shard)
{
    return shard->hub.requests_pending > 0 || shard->surveys_pending > 0;
}

static void shard_drain_step(struct timer *timer)
{
    struct shard *shard = container_of(timer, struct shard, drain_timer);
    uint64_t past_ms = shard->now_ms - shard->drain_begin_ms;
    shard->drain_held = shard->drain_ended;
    cell_table_visit(&shard->cells, shard_count_held);
    stream_table_visit(&shard->streams, shard_count_held_socket);
    cell_table_visit(&shard->cells, shard_drain_client);
    stream_table_visit(&shard->streams, shard_drain_socket);
    bool is_over = past_ms >= shard->options->drain_time_ms + SHARD_DRAIN_GRACE_MS;
    bool is_done = past_ms >= shard->options->drain_time_ms && shard->drain_held == shard->drain_ended &&
                   !shard_is_waiting(shard) && shard->streams.count == 0;
    if ((shard->drain_held == 0 && !shard_is_waiting(shard)) || is_over || is_done)
        shard_begin_closing(shard);
    else
        timer_arm(&shard->wheel, timer, shard->now_ms + SHARD_DRAIN_STEP_MS);
}

struct shard_order {
    struct letter letter;
    struct shard *shard;
    struct options *options; /* to configure; NULL to stop */
    bool is_at_once;
};

static void shard_take_order(struct letter *letter)
{
    struct shard_order *order = container_of(letter, struct shard_order, letter);
    struct shard *shard = order->shard;
    if (order->options) {
        options_unref(shard->options);
        shard->options = order->options;
        shard->hub.settings = shard_hub_settings(shard->options);
    } else if (shard->state == SHARD_RUNNING) {
        shard->state = SHARD_DRAINING;
        shard->drain_begin_ms = shard->now_ms;
        door_shut(&shard->door);
        stream_table_shut(&shard->streams);
        timer_arm(&shard->wheel, &shard->drain_timer, shard->now_ms);
    }
    if (order->is_at_once && shard->state == SHARD_DRAINING) {
        timer_stop(&shard->wheel, &shard->drain_timer);
        shard_begin_closing(shard);
    }
    free(order);
}

static int shard_post_order(struct shard *shard, struct options *options, bool is_at_once)
{
    struct shard_order *order = malloc(sizeof(*order));
    if (!order)
        return -ENOMEM;
    *order = (struct shard_order){
        .letter.deliver = shard_take_order, .shard = shard, .options = options, .is_at_once = is_at_once};
    mailbox_post(&shard->mailbox, &order->letter);
    return 0;
}

void shard_stop(struct shard *shard, uint64_t drain_ms)
{
    /* Without memory for the order the operator's next signal tries again. */
    if (shard_post_order(shard, NULL, drain_ms == 0))
        log_event(LOG_ERROR, "stop-failed", LOG_TEXT("reason", "no memory"),
                  LOG_TEXT("action", "signal again"));
}

int shard_configure(struct shard *shard, struct options *options)
{
    int err = shard_post_order(shard, options_ref(options), false);
    if (err)
        options_unref(options);
    return err;
}

/* The loop. */

static void shard_mailbox_ready(struct watch *watch, uint32_t events)
{
    struct mailbox *mailbox = &container_of(watch, struct shard, mailbox_watch)->mailbox;
    (void)events;
    /* In this order: a letter that comes before the acknowledgement has rung for nothing, so it is taken now.
     */
    mailbox_acknowledge(mailbox);
    mailbox_drain(mailbox);
}

static void shard_handle_events(struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;
        if (watch->fd >= 0)
            watch->on_event(watch, events[i].events);
    }
}

/* One turn. The mailbox is drained between learning of events and handling them: a request may name a message
 * that was fed to this shard before its client could know of it. */
static void shard_turn(struct shard *shard, bool has_more)
{
    struct epoll_event events[SHARD_EVENTS];
    uint64_t wait_ms = timer_wheel_wait_ms(&shard->wheel, clock_monotonic_ms(), SHARD_WAIT_MOST_MS);
    if (has_more || !list_is_empty(&shard->cells.to_run))
        wait_ms = 0;
    int count = epoll_wait(shard->epoll_fd, events, SHARD_EVENTS, (int)wait_ms);
    shard->now_ms = clock_monotonic_ms();
    shard->hub.now_ms = shard->now_ms;
    mailbox_drain(&shard->mailbox);
    shard_handle_events(events, count);
    timer_wheel_run(&shard->wheel, shard->now_ms);
    cell_table_run(&shard->cells);
    stream_table_run(&shard->streams);
}

static bool shard_is_done(const struct shard *shard)
{
    return shard->state == SHARD_CLOSING && hub_is_idle(&shard->hub) && !shard_is_waiting(shard) &&
           list_is_empty(&shard->cells.to_run);
}

static void *shard_run(void *argument)
{
    struct shard *shard = argument;
    char name[16];
    bool has_more = false;
    shard_of_thread = shard;
    snprintf(name, sizeof(name), "sluice-%u", shard->index);
    pthread_setname_np(pthread_self(), name);
    while (!shard_is_done(shard)) {
        shard_turn(shard, has_more);
        has_more = hub_serve(&shard->hub, SHARD_SERVE_NS);
        cell_table_run(&shard->cells);
        stream_table_run(&shard->streams);
        shard_empty_garbage(shard);
        shard_show(shard);
        /* Channels whose attach was on its way when closing began. */
        if (shard->state == SHARD_CLOSING)
            hub_close(&shard->hub);
    }
    cell_table_deinit(&shard->cells);
    shard_empty_garbage(shard);
    shard->state = SHARD_STOPPED;
    return NULL;
}

int shard_init(struct shard *shard, unsigned index, struct shard_group *group, struct options *options)
{
    shard->index = index;
    shard->group = group;
    shard->options = options_ref(options);
    shard->now_ms = clock_monotonic_ms();
    shard->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (shard->epoll_fd < 0)
        return -errno;
    int err = mailbox_init(&shard->mailbox);
    if (err)
        return err;
    timer_wheel_init(&shard->wheel, shard->now_ms);
    timer_init(&shard->drain_timer, shard_drain_step);
    cell_table_init(&shard->cells, shard);
    const struct hub_settings settings = shard_hub_settings(options);
    hub_init(&shard->hub, group->broker, &shard->mailbox, &shard->wheel, &settings);
    err = door_init(&shard->door, shard);
    if (!err)
        err = stream_table_init(&shard->streams, shard);
    if (err)
        return err;
    return watch_add(&shard->mailbox_watch, shard->epoll_fd, shard->mailbox.wake_fd, EPOLLIN,
                     shard_mailbox_ready);
}

int shard_start(struct shard *shard)
{
    int err = door_open(&shard->door);
    if (!err)
        err = stream_table_open(&shard->streams);
    if (err)
        return err;
    return -pthread_create(&shard->thread, NULL, shard_run, shard);
}

void shard_deinit(struct shard *shard)
{
    mailbox_deinit(&shard->mailbox);
    door_deinit(&shard->door);
    stream_table_deinit(&shard->streams);
    close(shard->epoll_fd);
    options_unref(shard->options);
}

/* Surveys. */

static void survey_arrive(struct letter *letter)
{
    struct survey *survey = container_of(letter, struct survey, letter);
    struct shard_group *group = survey->asker->group;
    if (survey->next > group->count) {
        survey->asker->surveys_pending--;
        survey->done(survey);
        return;
    }
    survey->visit(survey, &group->shards[survey->next - 1]);
    survey->next++;
    struct shard *to = survey->next > group->count ? survey->asker : &group->shards[survey->next - 1];
    mailbox_post(&to->mailbox, letter);
}

void shard_ask_all(struct shard *asker, struct survey *survey, void (*visit)(struct survey *, struct shard *),
                   void (*done)(struct survey *))
{
    survey->asker = asker;
    survey->visit = visit;
    survey->done = done;
    survey->next = 1;
    survey->letter.deliver = survey_arrive;
    asker->surveys_pending++;
    mailbox_post(&asker->group->shards[0].mailbox, &survey->letter);
}
