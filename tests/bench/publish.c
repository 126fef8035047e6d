/* SPDX-License-Identifier: MIT */
/* Publishing to channels that nobody listens to. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench.h"

#define PUBLISH_WARM_UP 10u
#define PUBLISH_EVENTS 256
#define PUBLISH_READ_BYTES 65536
#define PUBLISH_TIMEOUT_MS 10000

struct publish_clock {
    uint64_t begun_ns;
    uint64_t cpu_ns;
};

static struct publish_clock publish_start_clock(const struct bench_options *options)
{
    return (struct publish_clock){.begun_ns = bench_now_ns(), .cpu_ns = bench_cpu_ns(options->server_pid)};
}

static void publish_print(const struct bench_options *options, struct publish_clock clock, double count)
{
    double cpu_ns = (double)(bench_cpu_ns(options->server_pid) - clock.cpu_ns);
    double wall_ns = (double)(bench_now_ns() - clock.begun_ns);
    printf("{\"cpu_us\":%.3f,\"per_second\":%.0f,\"cpu_per_second\":%.0f}\n", cpu_ns / 1000 / count,
           count * 1e9 / wall_ns, count * 1e9 / cpu_ns);
}

int publish_main(const struct bench_options *options)
{
    int fd = bench_connect(options->port, 0);
    for (unsigned i = 0; i < PUBLISH_WARM_UP; i++)
        bench_publish(options, fd, options->channel, options->burst);
    struct publish_clock clock = publish_start_clock(options);
    for (unsigned i = 0; i < options->messages; i++)
        bench_publish(options, fd, options->channel, options->burst);
    publish_print(options, clock, (double)options->messages * options->burst);
    return 0;
}

struct publisher {
    int fd;
    char channel[32];
    struct bench_reader reader;
};

/* Each connection sends its next request once the last is answered. */
static void publish_turns(const struct bench_options *options, int epoll_fd, struct publisher *publishers,
                          unsigned count)
{
    static char bytes[PUBLISH_READ_BYTES];
    struct epoll_event events[PUBLISH_EVENTS];
    unsigned sent = 0;
    for (unsigned i = 0; i < options->connections && sent < count; i++, sent++)
        bench_send_singles(options, publishers[i].fd, publishers[i].channel, 1);
    for (unsigned answered = 0; answered < count;) {
        int ready = epoll_wait(epoll_fd, events, PUBLISH_EVENTS, PUBLISH_TIMEOUT_MS);
        if (ready == 0)
            bench_fail("only %u of %u were answered", answered, count);
        for (int i = 0; i < ready; i++) {
            struct publisher *publisher = events[i].data.ptr;
            ssize_t got = recv(publisher->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
            if (got <= 0)
                bench_fail("the server closed a connection");
            if (bench_count_answers(&publisher->reader, bytes, (size_t)got) == 0)
                continue;
            answered++;
            if (sent < count) {
                bench_send_singles(options, publisher->fd, publisher->channel, 1);
                sent++;
            }
        }
    }
}

int singles_main(const struct bench_options *options)
{
    struct publisher *publishers = calloc(options->connections, sizeof(*publishers));
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    unsigned warm_up = PUBLISH_WARM_UP * options->connections;
    if (!publishers)
        bench_fail("no memory");
    for (unsigned i = 0; i < options->connections; i++) {
        publishers[i].fd = bench_connect(options->port, i);
        snprintf(publishers[i].channel, sizeof(publishers[i].channel), "nobody/%u", i);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &publishers[i]};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, publishers[i].fd, &event))
            bench_fail("epoll_ctl: %s", strerror(errno));
    }
    publish_turns(options, epoll_fd, publishers, warm_up);
    struct publish_clock clock = publish_start_clock(options);
    publish_turns(options, epoll_fd, publishers, options->messages);
    publish_print(options, clock, options->messages);
    if (options->server != BENCH_MHD &&
        bench_look_published(options, publishers[0].fd) != (uint64_t)warm_up + options->messages)
        bench_fail("the server did not accept every message that it answered");
    return 0;
}
