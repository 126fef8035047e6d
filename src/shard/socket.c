/* SPDX-License-Identifier: MIT */
#include "shard/socket.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SOCKET_WRITE_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

ssize_t socket_read(int fd, char *to, size_t size)
{
    return recv(fd, to, size, MSG_DONTWAIT);
}

ssize_t socket_peek(int fd, char *to, size_t size)
{
    return recv(fd, to, size, MSG_PEEK | MSG_DONTWAIT);
}

/* By its number, because send() is a point of cancellation, which takes 2 % of a broadcast, and no shard is
 * ever cancelled. */
ssize_t socket_write(int fd, const char *bytes, size_t len)
{
    return syscall(SYS_sendto, fd, bytes, len, SOCKET_WRITE_FLAGS, NULL, 0);
}

/* One part is by far the most frequent, and sendto costs the kernel less than sendmsg. */
ssize_t socket_write_parts(int fd, const struct iovec *parts, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    return count == 1 ? socket_write(fd, parts->iov_base, parts->iov_len)
                      : sendmsg(fd, &message, SOCKET_WRITE_FLAGS);
}

void socket_end(int fd)
{
    shutdown(fd, SHUT_WR);
}

void socket_close(int fd)
{
    close(fd);
}
