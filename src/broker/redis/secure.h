/* SPDX-License-Identifier: MIT */
#pragma once

/* TLS 1.2 and 1.3 on the socket of a link, the client's side, without blocking: the certificate of the other
 * end has to be of an authority that is trusted, in time, and of the name that was meant (RFC 9525). What
 * goes wrong is a sentence for people. Broker's thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct trust;
struct secure;

#define SECURE_FAULT_MAX 256u

/* A session that has not begun. `address` is host:port, the host is the name that is expected and told (SNI).
 * Takes a reference to the trust. NULL when memory is out. */
struct secure *secure_new(struct trust *trust, const char *address);

/* The socket is connected; it stays the caller's. */
void secure_begin(struct secure *secure, int fd);

/* Goes on with the handshake. Returns 0 when it is over, -EAGAIN while bytes or room are awaited, or -EPROTO
 * with a fault. */
int secure_handshake(struct secure *secure);

/* As recv: bytes, 0 at the end, or -EAGAIN, or -EPROTO with a fault. Tells all there is only by -EAGAIN. */
ssize_t secure_read(struct secure *secure, char *to, size_t size);

/* Takes the first bytes of the parts and returns how many, or -EAGAIN, or -EPROTO with a fault. After -EAGAIN
 * the same bytes come first again. */
ssize_t secure_write(struct secure *secure, const struct iovec *parts, int count);

/* Why the last call failed. */
const char *secure_fault(const struct secure *secure);

/* Whether the fault is one that somebody has to mend: no end of a connection. */
bool secure_is_refused(const struct secure *secure);

/* Tells the other end that this was all, as far as that goes without waiting; before its socket is closed. */
void secure_end(struct secure *secure);

void secure_free(struct secure *secure);
