/* SPDX-License-Identifier: MIT */
#include "shard/socket.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shard/tls.h"

#define SOCKET_WRITE_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

ssize_t socket_read(int fd, char *to, size_t size)
{
    struct tls *tls = tls_of(fd);
    return tls ? tls_read(tls, to, size) : recv(fd, to, size, MSG_DONTWAIT);
}

/* A record that there is no room for would wait in the session, which rings nobody. */
ssize_t socket_read_some(int fd, char *to, size_t size)
{
    struct tls *tls = tls_of(fd);
    return tls ? tls_read_records(tls, to, size) : recv(fd, to, size, MSG_DONTWAIT);
}

bool socket_is_holding(int fd)
{
    const struct tls *tls = tls_of(fd);
    return tls && tls_is_holding(tls);
}

bool socket_is_tls(int fd)
{
    return tls_of(fd) != NULL;
}

ssize_t socket_peek(int fd, char *to, size_t size)
{
    return recv(fd, to, size, MSG_PEEK | MSG_DONTWAIT);
}

/* By its number, because send() is a point of cancellation, which takes 2 % of a broadcast, and no shard is
 * ever cancelled. */
static ssize_t socket_write_plain(int fd, const char *bytes, size_t len)
{
    return syscall(SYS_sendto, fd, bytes, len, SOCKET_WRITE_FLAGS, NULL, 0);
}

/* One part is by far the most frequent, and sendto costs the kernel less than sendmsg. */
ssize_t socket_write_parts(int fd, const struct iovec *parts, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    struct tls *tls = tls_of(fd);
    if (tls)
        return tls_write_parts(tls, parts, count);
    return count == 1 ? socket_write_plain(fd, parts->iov_base, parts->iov_len)
                      : syscall(SYS_sendmsg, fd, &message, SOCKET_WRITE_FLAGS);
}

ssize_t socket_write(int fd, const char *bytes, size_t len)
{
    const struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    return socket_write_parts(fd, &part, 1);
}

bool socket_is_owing(int fd)
{
    const struct tls *tls = tls_of(fd);
    return tls && tls_is_owing(tls);
}

bool socket_flush(int fd)
{
    struct tls *tls = tls_of(fd);
    return !tls || tls_flush(tls);
}

void socket_end(int fd)
{
    struct tls *tls = tls_of(fd);
    if (tls)
        tls_end(tls);
    else
        shutdown(fd, SHUT_WR);
}

void socket_move(int fd, int to)
{
    tls_give(to, tls_take(fd));
}

void socket_close(int fd)
{
    tls_forget(fd);
    close(fd);
}
