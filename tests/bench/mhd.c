/* SPDX-License-Identifier: MIT */
/* The limit of one request: libmicrohttpd as a cell of Sluice runs it, which takes the body of a publish and
 * answers the very bytes that Sluice does, and nothing else. */

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench.h"

#define MHD_BENCH_CONNECTIONS 256u
#define MHD_BENCH_POOL_BYTES 2048u
#define MHD_BENCH_EVENTS 16

static const char mhd_answer[] =
    "{\"channel\":\"nobody/1\",\"id\":\"2fbknbjhsff6-1\",\"time\":1795272782512,\"type\":\"text\"}\n";

static enum MHD_Result mhd_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    static int known;
    (void)cls;
    (void)url;
    (void)method;
    (void)version;
    (void)upload;
    if (!*request) {
        *request = &known;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof(mhd_answer) - 1, (void *)(uintptr_t)mhd_answer, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Location", "/channels/nobody/1?since=2fbknbjhsff6-0");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Vary", "Origin");
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_CREATED, response);
    MHD_destroy_response(response);
    return result;
}

static void mhd_accept(struct MHD_Daemon *daemon, int listen_fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    const int on = 1;
    int fd;
    while ((fd = accept4(listen_fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (MHD_add_connection(daemon, fd, (struct sockaddr *)&address, len) != MHD_YES)
            bench_fail("libmicrohttpd takes no more connections");
        len = sizeof(address);
    }
}

int mhd_main(void)
{
    const unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME |
                           MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, mhd_handle, NULL, MHD_OPTION_CONNECTION_LIMIT, MHD_BENCH_CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MHD_BENCH_POOL_BYTES, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int port = 0;
    int listen_fd = bench_listen(&port);
    struct epoll_event events[] = {{.events = EPOLLIN, .data.fd = listen_fd},
                                   {.events = EPOLLIN, .data.fd = -1}};
    if (!info || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &events[0]) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &events[1]))
        bench_fail("the bare libmicrohttpd does not start");
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
        struct epoll_event ready[MHD_BENCH_EVENTS];
        int count = epoll_wait(epoll_fd, ready, MHD_BENCH_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listen_fd)
                mhd_accept(daemon, listen_fd);
        }
        do {
            MHD_run(daemon);
        } while (MHD_get_timeout(daemon, &timeout_ms) == MHD_YES && timeout_ms == 0);
    }
}
