/* SPDX-License-Identifier: MIT */
#include "shard/feed.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shard/socket.h"

static _Thread_local struct {
    bool is_running;
    bool has_events;
    bool has_written;
    int fd; /* that is being fed; -1 when none is */
    const char *bytes;
    size_t len;
} feed = {.fd = -1};

/* In place of the C library's. */
ssize_t recv(int fd, void *to, size_t size, int flags)
{
    if (!feed.is_running || flags & MSG_DONTWAIT)
        return recvfrom(fd, to, size, flags, NULL, NULL);
    if (!feed.bytes && feed_end(fd))
        return 0;
    if (fd != feed.fd || feed.len == 0) {
        errno = EAGAIN;
        return -1;
    }
    size_t len = feed.len < size ? feed.len : size;
    memcpy(to, feed.bytes, len);
    feed.bytes += len;
    feed.len -= len;
    return (ssize_t)len;
}

/* The same. By their numbers, because these are points of cancellation, which nobody here needs. */
ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    feed.has_written = true;
    return socket_is_tls(fd) ? socket_write(fd, bytes, len)
                             : syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    feed.has_written = true;
    return socket_is_tls(fd) ? socket_write_parts(fd, message->msg_iov, (int)message->msg_iovlen)
                             : syscall(SYS_sendmsg, fd, message, flags);
}

/* The same. */
int epoll_wait(int fd, struct epoll_event *events, int most, int wait_ms)
{
    return feed.is_running && !feed.has_events ? 0 : epoll_pwait(fd, events, most, wait_ms, NULL);
}

void feed_run(struct MHD_Daemon *daemon, bool has_events)
{
    feed.has_events = has_events;
    feed.is_running = true;
    MHD_run(daemon);
    feed.is_running = false;
}

void feed_begin(int fd, const char *bytes, size_t len)
{
    feed.fd = fd;
    feed.bytes = bytes;
    feed.len = len;
}

bool feed_is_open(int fd)
{
    return feed.fd == fd;
}

bool feed_end(int fd)
{
    bool was_open = feed_is_open(fd);
    feed.fd = was_open ? -1 : feed.fd;
    return was_open;
}

static enum MHD_Result feed_check_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                         const char *method, const char *version, const char *upload,
                                         size_t *upload_len, void **context)
{
    bool *is_fed = cls;
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    (void)method;
    (void)version;
    (void)upload;
    (void)upload_len;
    (void)context;
    *is_fed = strcmp(url, "/fed") == 0;
    enum MHD_Result result = response ? MHD_queue_response(connection, MHD_HTTP_OK, response) : MHD_NO;
    if (response)
        MHD_destroy_response(response);
    return result;
}

int feed_check(void)
{
    static const char head[] = "GET /fed HTTP/1.1\r\nHost: a\r\n\r\n";
    const struct sockaddr_in nobody = {.sin_family = AF_INET};
    bool is_fed = false;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        return -errno;
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_NO_LISTEN_SOCKET, 0,
                                                 NULL, NULL, feed_check_handle, &is_fed, MHD_OPTION_END);
    if (daemon &&
        MHD_add_connection(daemon, pair[0], (const struct sockaddr *)&nobody, sizeof(nobody)) == MHD_YES) {
        feed.has_written = false;
        feed_begin(pair[0], head, sizeof(head) - 1);
        feed_run(daemon, false);
        (void)feed_end(pair[0]); /* whether it was taken, the handler says */
    }
    int err = !daemon ? -ENOMEM : is_fed && feed.has_written ? 0 : -ENOSYS;
    if (daemon)
        MHD_stop_daemon(daemon);
    close(pair[1]);
    return err;
}
