/* SPDX-License-Identifier: MIT */
#pragma once

/* What libmicrohttpd reads: one request head that has been judged, and not a byte more; and where it writes.
 *
 * By itself it would read from the socket as much as its buffer takes, also of the next request. So recv() is
 * defined in feed.c: the dynamic linker looks a name up in the executable before it looks in the libraries,
 * and libmicrohttpd's calls end up there. It calls without flags, and everything of ours that may run within
 * MHD_run with MSG_DONTWAIT: that is how they are told apart. While a daemon runs, the descriptor that is
 * being fed gives the bytes, and any other nothing (EAGAIN). Everybody else gets the system call.
 *
 * What it writes to a descriptor that has a TLS session goes through that, in the same way: send() and
 * sendmsg() are defined too, and nobody else's writes of plain text reach such a socket either. Files it
 * reads and sends, because sendfile() raises SIGPIPE: it calls that only where the application says that it
 * ignores the signal (MHD_OPTION_SIGPIPE_HANDLED_BY_APP), which ours must not say.
 *
 * In the same way a daemon asks for events only when there are some: the shard's epoll has its epoll nested,
 * and says so.
 *
 * Each thread has its own.
 */

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether libmicrohttpd reads and writes through us, tried out with a daemon. Returns 0 or -errno; -ENOSYS
 * when it does not. */
int feed_check(void);

/* Runs the daemon; it learns of no event unless `has_events`. */
void feed_run(struct MHD_Daemon *daemon, bool has_events);

/* Who reads from `fd` gets these bytes while a daemon runs; the end of the connection when `bytes` is NULL.
 * They are borrowed until feed_end. */
void feed_begin(int fd, const char *bytes, size_t len);

/* Whether `fd` is being fed still; with the end only until it has been read. */
bool feed_is_open(int fd);

/* Ends the feeding. Returns whether it was open. */
bool feed_end(int fd);
