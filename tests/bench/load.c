/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define LOAD_EVENTS 512
#define LOAD_READ_BYTES 65536
#define LOAD_TIMEOUT_MS 60000
#define LOAD_CURSOR_MAX 64

struct subscriber {
    int fd;
    bool is_open; /* has its response head; a long-poll counts as open when the server holds it */
    char cursor[LOAD_CURSOR_MAX];
    char channel[32];
};

struct load {
    const struct bench_options *options;
    struct subscriber *subscribers;
    int epoll_fd;
    int publish_fd;
    char *buffer;
    uint64_t received;
    uint64_t opened;
    uint64_t published_ns; /* when the last round began */
    uint64_t *latencies_ns;
    size_t latency_count;
    size_t latency_room;
};

static void load_request(struct load *load, struct subscriber *subscriber)
{
    static const char *const accepts[] = {
        [BENCH_SSE] = "text/event-stream", [BENCH_STREAM] = "application/x-ndjson", [BENCH_POLL] = "*/*"};
    static char padding[16384];
    char head[20000];
    if (load->options->transport == BENCH_TCP) {
        bench_send_all(subscriber->fd, head, (size_t)sprintf(head, "SUBSCRIBE %s\r\n", subscriber->channel));
        return;
    }
    int len = snprintf(
        head, sizeof(head),
        "GET /channels/%s%s%s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\nUser-Agent: "
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\nAccept: %s\r\n"
        "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: s=",
        subscriber->channel, subscriber->cursor[0] ? "?wait=300&since=" : "?wait=300", subscriber->cursor,
        accepts[load->options->transport]);
    int fill = (int)load->options->head_bytes - len - 4;
    if (!padding[0])
        memset(padding, 'c', sizeof(padding) - 1);
    len += snprintf(head + len, sizeof(head) - (size_t)len, "%.*s\r\n\r\n", fill > 1 ? fill : 1, padding);
    bench_send_all(subscriber->fd, head, (size_t)len);
}

static void load_note_latency(struct load *load)
{
    if (load->latency_count < load->latency_room)
        load->latencies_ns[load->latency_count++] = bench_now_ns() - load->published_ns;
}

/* A long-poll comes back with the cursor that it was given. */
static void load_poll_again(struct load *load, struct subscriber *subscriber, const char *bytes)
{
    const char *tag = strstr(bytes, "ETag: \"");
    const char *end = tag ? strchr(tag + 7, '"') : NULL;
    if (!end || end - tag - 7 >= LOAD_CURSOR_MAX)
        bench_fail("an answer without a cursor: %.300s", bytes);
    snprintf(subscriber->cursor, sizeof(subscriber->cursor), "%.*s", (int)(end - tag - 7), tag + 7);
    load_request(load, subscriber);
}

static void load_read(struct load *load, struct subscriber *subscriber)
{
    ssize_t got = recv(subscriber->fd, load->buffer, LOAD_READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        bench_fail("the server closed a connection");
    load->buffer[got] = '\0';
    if (!subscriber->is_open) {
        subscriber->is_open = true;
        load->opened++;
        if (!strstr(load->buffer, load->options->transport == BENCH_TCP ? "CONFIRMED" : " 200 "))
            bench_fail("refused: %.300s", load->buffer);
    }
    for (const char *at = load->buffer; (at = memchr(at, BENCH_MARK, (size_t)(load->buffer + got - at)));
         at++) {
        load->received++;
        load_note_latency(load);
        if (load->options->transport == BENCH_POLL)
            load_poll_again(load, subscriber, load->buffer);
    }
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

static void load_open(struct load *load)
{
    const struct bench_options *options = load->options;
    for (unsigned i = 0; i < options->connections; i++) {
        struct subscriber *subscriber = &load->subscribers[i];
        subscriber->fd = bench_connect(options->tcp_port > 0 ? options->tcp_port : options->port, i);
        snprintf(subscriber->channel, sizeof(subscriber->channel), options->is_one_of_many ? "one/%u" : "all",
                 i);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = subscriber};
        if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, subscriber->fd, &event))
            bench_fail("epoll_ctl: %s", strerror(errno));
        subscriber->is_open = options->transport == BENCH_POLL;
        load->opened += subscriber->is_open;
        load_request(load, subscriber);
        if (i % 64 == 63)
            load_until(load, &load->opened, i - 32);
    }
    load_until(load, &load->opened, options->connections);
}

static void load_publish(struct load *load, unsigned round)
{
    const struct bench_options *options = load->options;
    char command[64];
    unsigned index = (round * 2654435761u) % options->connections;
    load->published_ns = bench_now_ns();
    if (options->is_bare) {
        char answer;
        snprintf(command, sizeof(command), options->is_one_of_many ? "O %u" : "A %u",
                 options->is_one_of_many ? index : options->burst);
        bench_send_all(load->publish_fd, command, strlen(command));
        while (recv(load->publish_fd, &answer, 1, 0) < 0 && errno == EINTR)
            ;
        return;
    }
    const char *channel = options->is_one_of_many ? load->subscribers[index].channel : "all";
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

/* A long-poll has no answer that says it is held: the server says how many are. */
static void load_await_polls(struct load *load)
{
    static const char look[] = "GET /api/channels/all HTTP/1.1\r\nHost: b\r\n\r\n";
    char answer[4096];
    unsigned held = 0;
    while (held < load->options->connections) {
        const char *number = NULL;
        size_t len = 0;
        bench_send_all(load->publish_fd, look, sizeof(look) - 1);
        answer[0] = '\0';
        while (!strstr(answer, "}\n") && len < sizeof(answer) - 1) {
            ssize_t got = recv(load->publish_fd, answer + len, sizeof(answer) - 1 - len, 0);
            if (got <= 0)
                bench_fail("the server closed the publishing connection");
            len += (size_t)got;
            answer[len] = '\0';
        }
        number = strstr(answer, "\"poll\":");
        held = number ? (unsigned)strtoul(number + 7, NULL, 10) : 0;
    }
}

int load_main(const struct bench_options *options)
{
    struct load load = {.options = options, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    uint64_t each = (options->is_one_of_many ? 1u : options->connections) * (uint64_t)options->burst;
    load.latency_room = each * options->messages;
    load.subscribers = calloc(options->connections, sizeof(*load.subscribers));
    load.latencies_ns = malloc((load.latency_room + 1) * sizeof(uint64_t));
    load.buffer = malloc(LOAD_READ_BYTES + 1);
    load.publish_fd = bench_connect(options->port, 0);
    if (!load.subscribers || !load.latencies_ns || !load.buffer)
        bench_fail("no memory");
    if (options->is_bare)
        bench_send_all(load.publish_fd, "C", 1);
    uint64_t resident_before = bench_resident_bytes(options->server_pid);
    load_open(&load);
    if (options->transport == BENCH_POLL)
        load_await_polls(&load);
    uint64_t resident_after = bench_resident_bytes(options->server_pid);
    /* The first round warms up and is not measured. */
    load_publish(&load, 0);
    load_until(&load, &load.received, each);
    load.latency_count = 0;
    uint64_t begun_ns = bench_now_ns();
    uint64_t cpu_ns = bench_cpu_ns(options->server_pid);
    for (unsigned round = 1; round <= options->messages; round++) {
        if (options->rate > 0)
            load_wait_for(begun_ns + (uint64_t)round * 1000000000u / options->rate, &load);
        load_publish(&load, round);
        if (options->rate == 0)
            load_until(&load, &load.received, each * (round + 1));
    }
    load_until(&load, &load.received, each * (options->messages + 1));
    cpu_ns = bench_cpu_ns(options->server_pid) - cpu_ns;
    uint64_t wall_ns = bench_now_ns() - begun_ns;
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
