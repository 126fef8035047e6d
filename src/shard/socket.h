/* SPDX-License-Identifier: MIT */
#pragma once

/* The sockets of connections: the one place where they are read, written and closed. Nothing waits. On the
 * thread of the shard that has the connection.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Reads up to `size` bytes; returns as recv(). Less than `size` is all there was. */
ssize_t socket_read(int fd, char *to, size_t size);

/* Looks at up to `size` bytes, which stay; returns as recv(). */
ssize_t socket_peek(int fd, char *to, size_t size);

/* Writes what the peer takes; returns as send(). */
ssize_t socket_write(int fd, const char *bytes, size_t len);
ssize_t socket_write_parts(int fd, const struct iovec *parts, int count);

/* Tells the peer that it was all. */
void socket_end(int fd);

void socket_close(int fd);
