/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define LOAD_EVENTS 512
#define LOAD_READ_BYTES 65536
#define LOAD_TIMEOUT_MS 60000
#define LOAD_CURSOR_MAX 128
/* How long nothing more may come at the end. */
#define LOAD_QUIET_NS 20000000u
/* What a server takes meanwhile that has nothing to do. */
#define LOAD_REST_CPU_NS 200000u

struct subscriber {
    int fd;
    bool is_open; /* is subscribed, by what it was told; a long-poll counts as open at once */
    bool is_upgraded;
    unsigned answers; /* of a SockJS session */
    char cursor[LOAD_CURSOR_MAX];
    char channel[32];
    uint64_t received;
    uint64_t expected;
    struct bench_reader *reader; /* of answers, when each is to a request of its own */
    struct bench_frames frames;  /* WebSocket */
};

struct load {
    const struct bench_options *options;
    struct subscriber *subscribers;
    int epoll_fd;
    int publish_fd;
    struct bench_reader publish_reader; /* of pipelined requests */
    char *buffer;
    uint64_t received;
    uint64_t opened;
    uint64_t published;    /* answers to pipelined requests */
    uint64_t published_ns; /* when the last round began */
    uint64_t *latencies_ns;
    size_t latency_count;
    size_t latency_room;
};

static void load_request(struct load *load, struct subscriber *subscriber)
{
    char head[20000];
    size_t len = load->options->transport == BENCH_TCP
                     ? (size_t)sprintf(head, "SUBSCRIBE %s\r\n", subscriber->channel)
                     : bench_write_subscribe(load->options, head, sizeof(head), subscriber->channel,
                                             subscriber->cursor);
    bench_send_all(subscriber->fd, head, len);
}

static bool load_is_websocket(const struct load *load)
{
    return load->options->transport == BENCH_WEBSOCKET || load->options->transport == BENCH_COMMANDS;
}

/* Says something in its SockJS session, or, when that is NULL, polls. */
static void load_request_xhr(struct load *load, struct subscriber *subscriber, const char *said)
{
    char request[20000];
    char session[32];
    snprintf(session, sizeof(session), "%u", (unsigned)(subscriber - load->subscribers));
    size_t len = bench_write_sockjs(load->options, request, sizeof(request), session, said);
    bench_send_all(subscriber->fd, request, len);
}

static void load_note_open(struct load *load, struct subscriber *subscriber, bool is_as_expected)
{
    if (!is_as_expected)
        bench_fail("refused: %.300s", load->buffer);
    subscriber->is_open = true;
    load->opened++;
}

static void load_note(struct load *load, struct subscriber *subscriber)
{
    subscriber->received++;
    load->received++;
    if (load->latency_count < load->latency_room)
        load->latencies_ns[load->latency_count++] = bench_now_ns() - load->published_ns;
}

/* A long-poll comes back with the cursor that it was given. */
static void load_read_poll(struct load *load, struct subscriber *subscriber, size_t len)
{
    const char *bytes = load->buffer;
    while (len > 0) {
        bool is_whole = false;
        size_t used = bench_take_answer(subscriber->reader, bytes, len, &is_whole);
        bytes += used;
        len -= used;
        if (!is_whole)
            continue;
        if (bytes[-1] != BENCH_MARK)
            bench_fail("an answer without a message: %.300s", subscriber->reader->head);
        load_note(load, subscriber);
        bench_take_cursor(load->options, subscriber->reader->head, subscriber->cursor, LOAD_CURSOR_MAX);
        load_request(load, subscriber);
    }
}

/* The session is opened, subscribes, and then polls for ever; what it is told may be several messages. */
static void load_continue_xhr(struct load *load, struct subscriber *subscriber)
{
    char said[128];
    switch (subscriber->answers++) {
    case 0:
        snprintf(said, sizeof(said), "[\"{\\\"op\\\":\\\"subscribe\\\",\\\"channel\\\":\\\"%s\\\"}\"]",
                 subscriber->channel);
        load_request_xhr(load, subscriber, said);
        return;
    case 1:
        break;
    case 2:
        load_note_open(load, subscriber, strstr(load->buffer, "subscribed"));
        break;
    default:
        break;
    }
    load_request_xhr(load, subscriber, NULL);
}

static void load_read_xhr(struct load *load, struct subscriber *subscriber, size_t len)
{
    const char *bytes = load->buffer;
    while (len > 0) {
        bool is_whole = false;
        size_t used = bench_take_answer(subscriber->reader, bytes, len, &is_whole);
        for (unsigned count = bench_count_marks(bytes, used); count > 0; count--)
            load_note(load, subscriber);
        bytes += used;
        len -= used;
        if (is_whole)
            load_continue_xhr(load, subscriber);
    }
}

/* The feed is there with its handshake; on the other the channel has to be asked for. */
static size_t load_upgrade(struct load *load, struct subscriber *subscriber)
{
    const char *end = strstr(load->buffer, "\r\n\r\n");
    if (strncmp(load->buffer, "HTTP/1.1 101 ", 13) != 0 || !end ||
        !strstr(load->buffer, BENCH_WEBSOCKET_ACCEPT))
        bench_fail("refused: %.300s", load->buffer);
    subscriber->is_upgraded = true;
    if (load->options->transport == BENCH_WEBSOCKET) {
        load_note_open(load, subscriber, true);
    } else {
        char frame[256];
        bench_send_all(subscriber->fd, frame, bench_write_subscribe_frame(frame, subscriber->channel));
    }
    return (size_t)(end + 4 - load->buffer);
}

static void load_read_websocket(struct load *load, struct subscriber *subscriber, size_t len)
{
    size_t used = subscriber->is_upgraded ? 0 : load_upgrade(load, subscriber);
    unsigned count = bench_count_in_frames(&subscriber->frames, load->buffer + used, len - used);
    if (!subscriber->is_open && subscriber->frames.count > 0)
        load_note_open(load, subscriber, memmem(load->buffer, len, "\"subscribed\"", 12));
    for (; count > 0; count--)
        load_note(load, subscriber);
}

static void load_read_stream(struct load *load, struct subscriber *subscriber, size_t len)
{
    if (!subscriber->is_open)
        load_note_open(load, subscriber,
                       strstr(load->buffer, load->options->transport == BENCH_TCP ? "CONFIRMED" : " 200 "));
    for (unsigned count = bench_count_marks(load->buffer, len); count > 0; count--)
        load_note(load, subscriber);
}

/* `subscriber` is NULL for the connection that publishes. */
static void load_read(struct load *load, struct subscriber *subscriber)
{
    ssize_t got =
        bench_receive(subscriber ? subscriber->fd : load->publish_fd, load->buffer, LOAD_READ_BYTES);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        bench_fail("the server closed a connection");
    load->buffer[got] = '\0';
    if (!subscriber)
        load->published += bench_count_answers(&load->publish_reader, load->buffer, (size_t)got);
    else if (load->options->transport == BENCH_POLL)
        load_read_poll(load, subscriber, (size_t)got);
    else if (load->options->transport == BENCH_XHR)
        load_read_xhr(load, subscriber, (size_t)got);
    else if (load_is_websocket(load))
        load_read_websocket(load, subscriber, (size_t)got);
    else
        load_read_stream(load, subscriber, (size_t)got);
}

/* Reads until `counter` has reached `target`. */
static void load_until(struct load *load, const uint64_t *counter, uint64_t target)
{
    struct epoll_event events[LOAD_EVENTS];
    while (*counter < target) {
        int count = epoll_wait(load->epoll_fd, events, LOAD_EVENTS, LOAD_TIMEOUT_MS);
        if (count == 0)
            bench_fail("only %llu of %llu came", (unsigned long long)*counter, (unsigned long long)target);
        for (int i = 0; i < count; i++)
            load_read(load, events[i].data.ptr);
    }
}

/* A long-poll has no answer that says it is held, nor a feed one that says it has begun: the server says how
 * many are. Of a SockJS session it does not say whether it polls: those are all held once it rests. */
static void load_await_held(struct load *load, unsigned count)
{
    const struct bench_options *options = load->options;
    const struct timespec rest = {.tv_nsec = 1000000};
    const struct timespec long_rest = {.tv_nsec = LOAD_QUIET_NS};
    if (options->transport == BENCH_XHR) {
        uint64_t before;
        do {
            before = bench_cpu_ns(options->server_pid);
            nanosleep(&long_rest, NULL);
        } while (bench_cpu_ns(options->server_pid) - before > LOAD_REST_CPU_NS);
        return;
    }
    bool is_looked_at =
        options->transport == BENCH_POLL || (load_is_websocket(load) && options->server != BENCH_BARE);
    while (is_looked_at && bench_look_held(options, load->publish_fd) < count)
        nanosleep(&rest, NULL);
}

static void load_watch(struct load *load, int fd, struct subscriber *subscriber)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = subscriber};
    if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        bench_fail("epoll_ctl: %s", strerror(errno));
}

static void load_open(struct load *load)
{
    const struct bench_options *options = load->options;
    bool is_poll = options->transport == BENCH_POLL;
    bool is_xhr = options->transport == BENCH_XHR;
    if (options->is_pipelined)
        load_watch(load, load->publish_fd, NULL);
    for (unsigned i = 0; i < options->connections; i++) {
        struct subscriber *subscriber = &load->subscribers[i];
        subscriber->fd = bench_connect(options->tcp_port > 0 ? options->tcp_port : options->port, i);
        if (options->is_tls)
            bench_secure(subscriber->fd);
        snprintf(subscriber->channel, sizeof(subscriber->channel), options->is_one_of_many ? "one/%u" : "all",
                 i);
        load_watch(load, subscriber->fd, subscriber);
        subscriber->reader = is_poll || is_xhr ? calloc(1, sizeof(*subscriber->reader)) : NULL;
        if ((is_poll || is_xhr) && !subscriber->reader)
            bench_fail("no memory");
        subscriber->is_open = is_poll;
        load->opened += subscriber->is_open;
        if (is_xhr)
            load_request_xhr(load, subscriber, NULL);
        else
            load_request(load, subscriber);
        /* Not more at once than a busy machine takes before their heads are too late. */
        if (i % 64 == 63)
            load_until(load, &load->opened, i - 32);
        if (is_poll && i % 512 == 511)
            load_await_held(load, i + 1);
    }
    load_until(load, &load->opened, options->connections);
}

static void load_publish(struct load *load, unsigned round)
{
    const struct bench_options *options = load->options;
    char command[64];
    unsigned index = (round * 2654435761u) % options->connections;
    if (options->is_one_of_many)
        load->subscribers[index].expected += options->burst;
    load->published_ns = bench_now_ns();
    if (options->server == BENCH_BARE) {
        char answer;
        snprintf(command, sizeof(command), options->is_one_of_many ? "O %u" : "A %u",
                 options->is_one_of_many ? index : options->burst);
        bench_send_all(load->publish_fd, command, strlen(command));
        while (recv(load->publish_fd, &answer, 1, 0) < 0 && errno == EINTR)
            ;
        return;
    }
    const char *channel = options->is_one_of_many ? load->subscribers[index].channel : "all";
    if (options->is_pipelined)
        bench_send_singles(options, load->publish_fd, channel, options->burst);
    else
        bench_publish(options, load->publish_fd, channel, options->burst);
}

static int load_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static double load_percentile_us(struct load *load, double part)
{
    if (load->latency_count == 0)
        return 0;
    return (double)load->latencies_ns[(size_t)((double)(load->latency_count - 1) * part)] / 1000;
}

static void load_wait_for(uint64_t at_ns, struct load *load)
{
    struct epoll_event events[LOAD_EVENTS];
    for (uint64_t now = bench_now_ns(); now < at_ns; now = bench_now_ns()) {
        int count = epoll_wait(load->epoll_fd, events, LOAD_EVENTS, (int)((at_ns - now) / 1000000));
        for (int i = 0; i < count; i++)
            load_read(load, events[i].data.ptr);
    }
}

static void load_finish_round(struct load *load, uint64_t rounds, uint64_t each)
{
    load_until(load, &load->received, each * rounds);
    if (load->options->is_pipelined)
        load_until(load, &load->published, load->options->burst * rounds);
}

/* A server that is fast because it drops, or tells twice, is not fast. */
static void load_check(struct load *load)
{
    const struct bench_options *options = load->options;
    uint64_t rounds = options->messages + 1;
    load_wait_for(bench_now_ns() + LOAD_QUIET_NS, load);
    if (options->server == BENCH_BARE)
        return;
    for (unsigned i = 0; i < options->connections; i++) {
        const struct subscriber *subscriber = &load->subscribers[i];
        uint64_t expected = options->is_one_of_many ? subscriber->expected : rounds * options->burst;
        if (subscriber->received != expected)
            bench_fail("subscriber %u got %llu messages, but %llu were for it", i,
                       (unsigned long long)subscriber->received, (unsigned long long)expected);
    }
    uint64_t published = bench_look_published(options, load->publish_fd);
    /* Others may publish to the same server. */
    if (published < rounds * options->burst)
        bench_fail("the server says that it accepted %llu messages of %llu", (unsigned long long)published,
                   (unsigned long long)(rounds * options->burst));
}

static void load_start(struct load *load, uint64_t each)
{
    const struct bench_options *options = load->options;
    load->latency_room = each * options->messages;
    load->subscribers = calloc(options->connections, sizeof(*load->subscribers));
    load->latencies_ns = malloc((load->latency_room + 1) * sizeof(uint64_t));
    load->buffer = malloc(LOAD_READ_BYTES + 1);
    load->publish_fd = bench_connect(options->port, 0);
    if (!load->subscribers || !load->latencies_ns || !load->buffer)
        bench_fail("no memory");
    if (options->server == BENCH_BARE)
        bench_send_all(load->publish_fd, "C", 1);
}

int load_main(const struct bench_options *options)
{
    struct load load = {.options = options, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    uint64_t each = (options->is_one_of_many ? 1u : options->connections) * (uint64_t)options->burst;
    load_start(&load, each);
    uint64_t resident_before = bench_resident_bytes(options->server_pid);
    load_open(&load);
    load_await_held(&load, options->connections);
    uint64_t resident_after = bench_resident_bytes(options->server_pid);
    /* The first round warms up and is not measured. */
    load_publish(&load, 0);
    load_finish_round(&load, 1, each);
    load_await_held(&load, options->connections);
    load.latency_count = 0;
    uint64_t begun_ns = bench_now_ns();
    uint64_t cpu_ns = bench_cpu_ns(options->server_pid);
    for (unsigned round = 1; round <= options->messages; round++) {
        if (options->rate > 0)
            load_wait_for(begun_ns + (uint64_t)round * 1000000000u / options->rate, &load);
        load_publish(&load, round);
        if (options->rate == 0)
            load_finish_round(&load, round + 1, each);
    }
    load_finish_round(&load, options->messages + 1, each);
    uint64_t wall_ns = bench_now_ns() - begun_ns;
    /* Coming back is part of the work. */
    load_await_held(&load, options->connections);
    cpu_ns = bench_cpu_ns(options->server_pid) - cpu_ns;
    load_check(&load);
    uint64_t deliveries = each * options->messages;
    qsort(load.latencies_ns, load.latency_count, sizeof(uint64_t), load_compare);
    printf("{\"deliveries\":%llu,\"cpu_us\":%.3f,\"per_second\":%.0f,\"cpu_per_second\":%.0f,\"p50_us\":%.0f,"
           "\"p99_us\":%.0f,"
           "\"resident\":%.0f}\n",
           (unsigned long long)deliveries, (double)cpu_ns / 1000 / (double)deliveries,
           (double)deliveries * 1e9 / (double)wall_ns, (double)deliveries * 1e9 / (double)(cpu_ns + 1),
           load_percentile_us(&load, 0.5), load_percentile_us(&load, 0.99),
           (double)(resident_after - resident_before) / options->connections);
    return 0;
}
