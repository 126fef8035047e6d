/* SPDX-License-Identifier: MIT */
/* The limit: one plain send() for each subscriber of the very bytes that Sluice sends, and nothing else. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define BARE_EVENTS 256
#define BARE_PAYLOAD_MAX (1u << 20)

static const char bare_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

struct bare {
    int epoll_fd;
    int listen_fd;
    int control_fd;
    int *subscribers;
    unsigned count;
    unsigned capacity;
    unsigned id;
    bool is_raw; /* the subscribers speak raw TCP, not HTTP */
    char *payload;
};

static size_t bare_make_payload(struct bare *bare, unsigned count)
{
    char message[BENCH_MESSAGE_BYTES + 1];
    size_t len = 0;
    memset(message, 'x', BENCH_MESSAGE_BYTES - 1);
    message[BENCH_MESSAGE_BYTES - 1] = BENCH_MARK;
    message[BENCH_MESSAGE_BYTES] = '\0';
    for (unsigned i = 0; i < count; i++) {
        char event[256];
        if (bare->is_raw) {
            len += (size_t)sprintf(bare->payload + len, "%s\r\n", message);
            continue;
        }
        int size = snprintf(event, sizeof(event), "id: k3q9xm2ab7zt-%u\ndata: %s\n\n", ++bare->id, message);
        len += (size_t)sprintf(bare->payload + len, "%x\r\n%s\r\n", (unsigned)size, event);
    }
    return len;
}

static void bare_send(int fd, const char *bytes, size_t len)
{
    if (send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
        bench_fail("the bare loop could not send everything at once");
}

/* "A COUNT": COUNT messages to all. "O INDEX": one message to one. */
static void bare_command(struct bare *bare)
{
    char line[64];
    ssize_t got = recv(bare->control_fd, line, sizeof(line) - 1, 0);
    if (got <= 0)
        exit(0);
    line[got] = '\0';
    unsigned number = (unsigned)strtoul(line + 2, NULL, 10);
    size_t len = bare_make_payload(bare, line[0] == 'A' ? number : 1);
    /* Answered first, as Sluice answers once a message is accepted: so the client reads while the server
     * sends, in both. */
    bare_send(bare->control_fd, "K", 1);
    if (line[0] == 'O')
        bare_send(bare->subscribers[number % bare->count], bare->payload, len);
    for (unsigned i = 0; line[0] == 'A' && i < bare->count; i++)
        bare_send(bare->subscribers[i], bare->payload, len);
}

static void bare_watch(struct bare *bare, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(bare->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        bench_fail("epoll_ctl failed");
}

static void bare_accept(struct bare *bare)
{
    int fd;
    const int on = 1;
    while ((fd = accept4(bare->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        bare_watch(bare, fd);
    }
}

static void bare_read_head(struct bare *bare, int fd)
{
    char head[16384];
    ssize_t got = recv(fd, head, sizeof(head), MSG_DONTWAIT);
    if (got <= 0) {
        epoll_ctl(bare->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        return;
    }
    if (head[0] == 'C') {
        bare->control_fd = fd;
        return;
    }
    if (bare->count == bare->capacity) {
        bare->capacity = bare->capacity ? bare->capacity * 2 : 1024;
        bare->subscribers = realloc(bare->subscribers, bare->capacity * sizeof(int));
        if (!bare->subscribers)
            bench_fail("no memory");
    }
    bare->subscribers[bare->count++] = fd;
    bare->is_raw = head[0] == 'S';
    if (bare->is_raw)
        bare_send(fd, "CONFIRMED\r\n", 11);
    else
        bare_send(fd, bare_head, sizeof(bare_head) - 1);
}

int bare_main(void)
{
    struct bare bare = {.control_fd = -1, .payload = malloc(BARE_PAYLOAD_MAX)};
    int port = 0;
    bare.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bare.listen_fd = bench_listen(&port);
    if (!bare.payload)
        bench_fail("no memory");
    bare_watch(&bare, bare.listen_fd);
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[BARE_EVENTS];
        int count = epoll_wait(bare.epoll_fd, events, BARE_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == bare.listen_fd)
                bare_accept(&bare);
            else if (events[i].data.fd == bare.control_fd)
                bare_command(&bare);
            else
                bare_read_head(&bare, events[i].data.fd);
        }
    }
}
