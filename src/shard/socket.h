/* SPDX-License-Identifier: MIT */
#pragma once

/* The sockets of connections: the one place where they are read, written and closed. Nothing waits. What a
 * descriptor has a TLS session for goes through that (shard/tls.h), and nobody who uses these needs to know;
 * but for one thing: what has been written may still be owed to the peer. On the thread of the shard that has
 * the connection.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Reads up to `size` bytes; returns as recv(). Less than `size` is all there was. */
ssize_t socket_read(int fd, char *to, size_t size);

/* Reads some of what there is; `size` is at least SOCKET_SOME_LEAST. What is left makes a level-triggered
 * watch ring. Returns as recv(). */
#define SOCKET_SOME_LEAST 16384u
ssize_t socket_read_some(int fd, char *to, size_t size);

/* Whether bytes wait of which no watch tells. */
bool socket_is_holding(int fd);

/* Whether the socket can only be read, and not looked at. */
bool socket_is_tls(int fd);

/* Looks at up to `size` bytes, which stay; returns as recv(). Not with TLS. */
ssize_t socket_peek(int fd, char *to, size_t size);

/* Writes what the peer takes; returns as send(). */
ssize_t socket_write(int fd, const char *bytes, size_t len);
ssize_t socket_write_parts(int fd, const struct iovec *parts, int count);

/* Whether some of what was written is still to be sent, once the socket takes bytes again. */
bool socket_is_owing(int fd);

/* Sends what is owed. Returns whether nothing is owed any more. */
bool socket_flush(int fd);

/* Tells the peer that it was all; behind what is owed. */
void socket_end(int fd);

/* What belongs to a descriptor goes over to another one of the same connection. */
void socket_move(int fd, int to);

void socket_close(int fd);
