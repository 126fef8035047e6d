/* SPDX-License-Identifier: MIT */
/* The limit: one plain send() for each subscriber of the very bytes that Sluice sends, and nothing else. All
 * subscribers speak the same. */

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
static const char bare_upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
                                   "websocket\r\nSec-WebSocket-Accept: " BENCH_WEBSOCKET_ACCEPT "\r\n\r\n";
/* A frame of text. */
static const char bare_subscribed[] = "\x81\x13{\"op\":\"subscribed\"}";

struct bare {
    int epoll_fd;
    int listen_fd;
    int control_fd;
    int *subscribers;
    unsigned count;
    unsigned capacity;
    unsigned id;
    enum bench_transport transport;
    char *payload;
};

static size_t bare_write_frame(char *to, const char *data, size_t len)
{
    size_t head_len = bench_write_frame_head(to, len);
    memcpy(to + head_len, data, len);
    return head_len + len;
}

/* One message as its subscribers get it. */
static size_t bare_write(struct bare *bare, char *to, const char *message)
{
    char text[256];
    size_t len;
    switch (bare->transport) {
    case BENCH_TCP:
        return (size_t)sprintf(to, "%s\r\n", message);
    case BENCH_WEBSOCKET:
        return bare_write_frame(to, message, BENCH_MESSAGE_BYTES);
    case BENCH_COMMANDS:
        len = (size_t)snprintf(text, sizeof(text),
                               "{\"op\":\"message\",\"channel\":\"all\",\"id\":\"k3q9xm2ab7zt-%u\",\"time\":"
                               "1700000000000,\"type\":\"text\",\"data\":\"%s\"}",
                               ++bare->id, message);
        return bare_write_frame(to, text, len);
    default:
        len = (size_t)snprintf(text, sizeof(text), "id: k3q9xm2ab7zt-%u\ndata: %s\n\n", ++bare->id, message);
        return (size_t)sprintf(to, "%x\r\n%s\r\n", (unsigned)len, text);
    }
}

static size_t bare_make_payload(struct bare *bare, unsigned count)
{
    char message[BENCH_MESSAGE_BYTES + 1];
    size_t len = 0;
    memset(message, 'x', BENCH_MESSAGE_BYTES - 1);
    message[BENCH_MESSAGE_BYTES - 1] = BENCH_MARK;
    message[BENCH_MESSAGE_BYTES] = '\0';
    for (unsigned i = 0; i < count; i++)
        len += bare_write(bare, bare->payload + len, message);
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

static void bare_add(struct bare *bare, int fd, enum bench_transport transport, const char *greeting,
                     size_t len)
{
    if (bare->count == bare->capacity) {
        bare->capacity = bare->capacity ? bare->capacity * 2 : 1024;
        bare->subscribers = realloc(bare->subscribers, bare->capacity * sizeof(int));
        if (!bare->subscribers)
            bench_fail("no memory");
    }
    bare->subscribers[bare->count++] = fd;
    bare->transport = transport;
    bare_send(fd, greeting, len);
}

static void bare_read_head(struct bare *bare, int fd)
{
    char head[16384];
    ssize_t got = recv(fd, head, sizeof(head) - 1, MSG_DONTWAIT);
    if (got <= 0) {
        epoll_ctl(bare->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        return;
    }
    head[got] = '\0';
    if (head[0] == 'C')
        bare->control_fd = fd;
    else if (head[0] == 'S')
        bare_add(bare, fd, BENCH_TCP, "CONFIRMED\r\n", 11);
    else if (head[0] == bare_subscribed[0])
        bare_add(bare, fd, BENCH_COMMANDS, bare_subscribed, sizeof(bare_subscribed) - 1);
    else if (strncmp(head, "GET /ws ", 8) == 0)
        bare_send(fd, bare_upgrade, sizeof(bare_upgrade) - 1);
    else if (strstr(head, "\r\nUpgrade:"))
        bare_add(bare, fd, BENCH_WEBSOCKET, bare_upgrade, sizeof(bare_upgrade) - 1);
    else
        bare_add(bare, fd, BENCH_SSE, bare_head, sizeof(bare_head) - 1);
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
