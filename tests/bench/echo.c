/* SPDX-License-Identifier: MIT */
/* An echo server's clients: each keeps as many lines on their way as the pipeline is deep. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench.h"

#define ECHO_EVENTS 256
#define ECHO_READ_BYTES 65536

struct echo_client {
    int fd;
    size_t received; /* bytes of the batch that is on its way */
};

int echo_main(const struct bench_options *options)
{
    static char bytes[ECHO_READ_BYTES];
    size_t batch_len = (size_t)options->burst * BENCH_MESSAGE_BYTES;
    struct echo_client *clients = calloc(options->connections, sizeof(*clients));
    char *batch = malloc(batch_len);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || !batch)
        bench_fail("no memory");
    memset(batch, 'x', batch_len);
    for (unsigned i = 1; i <= options->burst; i++)
        memcpy(batch + (size_t)i * BENCH_MESSAGE_BYTES - 2, "\r\n", 2);
    for (unsigned i = 0; i < options->connections; i++) {
        clients[i].fd = bench_connect(options->port, i);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, clients[i].fd, &event))
            bench_fail("epoll_ctl: %s", strerror(errno));
        bench_send_all(clients[i].fd, batch, batch_len);
    }
    uint64_t wanted = (uint64_t)options->messages * options->connections;
    uint64_t done = 0;
    uint64_t begun_ns = bench_now_ns();
    uint64_t cpu_ns = bench_cpu_ns(options->server_pid);
    while (done < wanted) {
        struct epoll_event events[ECHO_EVENTS];
        int count = epoll_wait(epoll_fd, events, ECHO_EVENTS, 10000);
        if (count == 0)
            bench_fail("nothing comes back");
        for (int i = 0; i < count; i++) {
            struct echo_client *client = events[i].data.ptr;
            ssize_t got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
            if (got <= 0)
                bench_fail("the server closed a connection");
            client->received += (size_t)got;
            if (client->received < batch_len)
                continue;
            client->received -= batch_len;
            done++;
            bench_send_all(client->fd, batch, batch_len);
        }
    }
    cpu_ns = bench_cpu_ns(options->server_pid) - cpu_ns;
    double lines = (double)done * options->burst;
    printf("{\"per_second\":%.0f,\"cpu_us\":%.3f}\n", lines * 1e9 / (double)(bench_now_ns() - begun_ns),
           (double)cpu_ns / 1000 / lines);
    return 0;
}
