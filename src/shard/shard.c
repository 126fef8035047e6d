/* SPDX-License-Identifier: MIT */
#include "shard/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "shard/rates.h"
#include "config/channel_options.h"
#include "shard/tls.h"

#define SHARD_EVENTS 256
#define SHARD_WAIT_MOST_MS 60000u
/* How long subscribers are served before the loop looks at its mailbox, its door and its sockets again. */
#define SHARD_SERVE_NS 500000u

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

/* What only this thread may look at is shown as counters, so that other threads can read it. */
static void shard_show(struct shard *shard)
{
#define SHARD_SHOW(name, kind, text, help, value)                                                            \
    atomic_store_explicit(&shard->counters[METRIC_##name], value, memory_order_relaxed);
    METRIC_TABLE(METRIC_NONE, SHARD_SHOW, METRIC_NONE)
#undef SHARD_SHOW
}

static struct channel_terms shard_find_terms(const void *options, struct text name)
{
    struct channel_options found;
    channel_options_resolve(&found, options, name);
    return (struct channel_terms){
        .kept = {found.history_size, found.history_bytes, found.history_ttl_ms},
        .is_newest = found.policy == CHANNEL_POLICY_NEWEST,
        .is_followed = (found.presence || found.events) && !channel_name_is_reserved(name),
    };
}

static struct hub_settings shard_hub_settings(const struct options *options)
{
    return (struct hub_settings){
        .find_terms = shard_find_terms,
        .context = options,
        .follows_any = channel_options_follow_any(options),
        .linger_ms = options->linger_time_ms,
        .linger_most = options->linger_channels,
    };
}

/* Stopping. */

/* Whoever comes while the shard is closing, on a connection that was open or with an attach that was under
 * way, is cut in the same turn. */
static void shard_go_on_closing(struct shard *shard)
{
    drain_cut(shard);
    list_for_each (link, &shard->lodgers) {
        struct lodger *lodger = container_of(link, struct lodger, link);
        lodger->evict(lodger);
    }
    hub_close(&shard->hub);
    if (hub_is_idle(&shard->hub) && shard->surveys_pending == 0 && list_is_empty(&shard->cells.to_run))
        shard_move(shard, SHARD_IDLE);
}

static void shard_count_idle(struct letter *letter)
{
    container_of(letter, struct shard, idle_letter)->group->idle_count++;
}

static void shard_become_idle(struct shard *shard)
{
    cell_table_deinit(&shard->cells);
    shard->idle_letter.deliver = shard_count_idle;
    mailbox_post(shard->group->home, &shard->idle_letter);
}

void shard_move(struct shard *shard, enum shard_state to)
{
    static const unsigned legal[] = {
        [SHARD_RUNNING] = 1u << SHARD_DRAINING | 1u << SHARD_CLOSING,
        [SHARD_DRAINING] = 1u << SHARD_CLOSING,
        [SHARD_CLOSING] = 1u << SHARD_IDLE,
        [SHARD_IDLE] = 1u << SHARD_STOPPED,
        [SHARD_STOPPED] = 0,
    };
    assert(legal[shard->state] & 1u << to);
    shard->state = to;
    switch (to) {
    case SHARD_RUNNING:
    case SHARD_STOPPED:
        break;
    case SHARD_DRAINING:
        drain_begin(shard);
        break;
    case SHARD_CLOSING:
        /* The same turn of the loop may still fire it. */
        timer_stop(&shard->wheel, &shard->drain.timer);
        listener_table_shut(&shard->listeners);
        vestibule_shut(&shard->listeners.vestibule);
        porch_shut(&shard->porch);
        break;
    case SHARD_IDLE:
        shard_become_idle(shard);
        break;
    }
}

/* It may have come so far by itself meanwhile. */
static void shard_obey(struct letter *letter)
{
    const struct shard_order *order = container_of(letter, struct shard_order, letter);
    if (order->shard->state < order->to)
        shard_move(order->shard, order->to);
}

void shard_order(struct shard *shard, enum shard_state to)
{
    struct shard_order *order = &shard->orders[to];
    *order = (struct shard_order){.letter.deliver = shard_obey, .shard = shard, .to = to};
    mailbox_post(&shard->mailbox, &order->letter);
}

/* New options. */

struct new_options {
    struct letter letter;
    struct shard *shard;
    struct options *options;
    struct auth_keys *keys;
};

static void shard_deliver_options(struct letter *letter)
{
    struct new_options *new = container_of(letter, struct new_options, letter);
    struct shard *shard = new->shard;
    const struct hub_settings settings = shard_hub_settings(new->options);
    hub_configure(&shard->hub, &settings);
    memory_budget_configure(&shard->group->memory, new->options); /* each to the same */
    options_unref(shard->options);
    auth_keys_unref(shard->keys);
    shard->options = new->options;
    shard->keys = new->keys;
    bearer_table_look(&shard->bearers);
    free(new);
}

int shard_configure(struct shard *shard, struct options *options, struct auth_keys *keys)
{
    struct new_options *new = malloc(sizeof(*new));
    if (!new)
        return -ENOMEM;
    *new = (struct new_options){.letter.deliver = shard_deliver_options,
                                .shard = shard,
                                .options = options_ref(options),
                                .keys = auth_keys_ref(keys)};
    mailbox_post(&shard->mailbox, &new->letter);
    return 0;
}

/* New certificates. */

struct renewal {
    struct letter letter;
    struct shard *shard;
    const struct entrance *entrance;
    struct tls_identity *identity;
};

static void shard_deliver_renewal(struct letter *letter)
{
    struct renewal *renewal = container_of(letter, struct renewal, letter);
    listener_table_renew(&renewal->shard->listeners, renewal->entrance, renewal->identity);
    tls_identity_unref(renewal->identity);
    free(renewal);
}

int shard_renew(struct shard *shard, const struct entrance *entrance, struct tls_identity *identity)
{
    struct renewal *renewal = malloc(sizeof(*renewal));
    if (!renewal)
        return -ENOMEM;
    *renewal = (struct renewal){.letter.deliver = shard_deliver_renewal,
                                .shard = shard,
                                .entrance = entrance,
                                .identity = tls_identity_ref(identity)};
    mailbox_post(&shard->mailbox, &renewal->letter);
    return 0;
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
    if (has_more || !list_is_empty(&shard->cells.to_run) || door_has_to_run(&shard->door) ||
        porch_has_to_run(&shard->porch) || !mailbox_is_empty(&shard->mailbox))
        wait_ms = 0;
    int count = epoll_wait(shard->epoll_fd, events, SHARD_EVENTS, (int)wait_ms);
    shard->now_ms = clock_monotonic_ms();
    shard->hub.now_ms = shard->now_ms;
    mailbox_drain(&shard->mailbox);
    shard_handle_events(events, count);
    timer_wheel_run(&shard->wheel, shard->now_ms);
    cell_table_run(&shard->cells);
    porch_run(&shard->porch);
    door_run(&shard->door);
    outlet_table_run(&shard->outlets);
    /* What was published in this turn is delivered in it. */
    mailbox_drain(&shard->mailbox);
}

static void *shard_run(void *argument)
{
    struct shard *shard = argument;
    char name[16];
    bool has_more = false;
    mailbox_own(&shard->mailbox);
    snprintf(name, sizeof(name), "sluice-%u", shard->index);
    pthread_setname_np(pthread_self(), name);
    while (shard->state != SHARD_STOPPED) {
        shard_turn(shard, has_more);
        has_more = hub_serve(&shard->hub, SHARD_SERVE_NS);
        cell_table_run(&shard->cells);
        outlet_table_run(&shard->outlets);
        shard_empty_garbage(shard);
        shard_show(shard);
        if (shard->state == SHARD_CLOSING)
            shard_go_on_closing(shard);
    }
    shard_empty_garbage(shard);
    return NULL;
}

/* What it has by the time of a failure, shard_deinit puts away. */
static int shard_prepare(struct shard *shard, unsigned index, struct shard_group *group,
                         struct options *options, struct auth_keys *keys)
{
    shard->index = index;
    shard->group = group;
    shard->options = options_ref(options);
    shard->keys = auth_keys_ref(keys);
    shard->epoll_fd = shard->mailbox.wake_fd = -1;
    list_init(&shard->listeners.listeners);
    memory_budget_configure(&group->memory, options);
    shard->revoked = revoked_new();
    if (!shard->revoked)
        return -ENOMEM;
    shard->now_ms = clock_monotonic_ms();
    shard->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (shard->epoll_fd < 0)
        return -errno;
    int err = mailbox_init(&shard->mailbox);
    if (err)
        return err;
    timer_wheel_init(&shard->wheel, shard->now_ms);
    list_init(&shard->lodgers);
    bearer_table_init(&shard->bearers, shard);
    drain_init(&shard->drain);
    err = cell_table_init(&shard->cells, shard);
    if (err)
        return err;
    const struct hub_settings settings = shard_hub_settings(options);
    hub_init(&shard->hub, group->broker, &shard->mailbox, &shard->wheel, &settings);
    rates_guard(shard);
    if (index == 0)
        hub_tend(&shard->hub);
    outlet_table_init(&shard->outlets, shard);
    farewell_table_init(&shard->farewells, shard);
    porch_init(&shard->porch, shard);
    err = listener_table_init(&shard->listeners, shard);
    if (!err)
        err = door_init(&shard->door, shard);
    if (!err)
        err = stream_table_init(&shard->streams, shard);
    if (!err)
        err = watch_add(&shard->mailbox_watch, shard->epoll_fd, shard->mailbox.wake_fd, EPOLLIN,
                        shard_mailbox_ready);
    /* Nothing may fail behind it: the broker has the shard's address from then on. */
    return err ? err : revocations_begin(shard);
}

int shard_init(struct shard *shard, unsigned index, struct shard_group *group, struct options *options,
               struct auth_keys *keys)
{
    int err = shard_prepare(shard, index, group, options, keys);
    if (err)
        shard_deinit(shard);
    return err;
}

int shard_start(struct shard *shard)
{
    return -pthread_create(&shard->thread, NULL, shard_run, shard);
}

void shard_deinit(struct shard *shard)
{
    mailbox_deinit(&shard->mailbox);
    listener_table_deinit(&shard->listeners);
    door_deinit(&shard->door);
    stream_table_deinit(&shard->streams);
    close(shard->epoll_fd);
    revoked_free(shard->revoked);
    auth_keys_unref(shard->keys);
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
