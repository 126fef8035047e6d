/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <sys/socket.h>

#include "bench.h"

#define TLS_DESCRIPTORS (1u << 20)

static gnutls_session_t sessions[TLS_DESCRIPTORS];

static void tls_need(int error)
{
    if (error)
        bench_fail("TLS: %s", gnutls_strerror(error));
}

/* Without waiting. */
static ssize_t tls_pull(gnutls_transport_ptr_t context, void *to, size_t size)
{
    return recv((int)(intptr_t)context, to, size, MSG_DONTWAIT);
}

void bench_secure(int fd)
{
    static gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    int error;
    if ((unsigned)fd >= TLS_DESCRIPTORS)
        bench_fail("too many descriptors");
    if (!credentials)
        tls_need(gnutls_certificate_allocate_credentials(&credentials));
    tls_need(gnutls_init(&session, GNUTLS_CLIENT));
    tls_need(gnutls_set_default_priority(session));
    tls_need(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials));
    gnutls_transport_set_int(session, fd);
    do {
        error = gnutls_handshake(session);
    } while (error && !gnutls_error_is_fatal(error));
    tls_need(error);
    gnutls_transport_set_pull_function(session, tls_pull);
    sessions[fd] = session;
}

/* A record at a time: `size` has room for one, so none waits in the session. */
ssize_t bench_receive(int fd, char *to, size_t size)
{
    gnutls_session_t session = (unsigned)fd < TLS_DESCRIPTORS ? sessions[fd] : NULL;
    if (!session)
        return recv(fd, to, size, MSG_DONTWAIT);
    ssize_t got = gnutls_record_recv(session, to, size);
    if (got >= 0)
        return got;
    errno = gnutls_error_is_fatal((int)got) ? ECONNRESET : EAGAIN;
    return -1;
}

ssize_t bench_send(int fd, const char *bytes, size_t len)
{
    gnutls_session_t session = (unsigned)fd < TLS_DESCRIPTORS ? sessions[fd] : NULL;
    ssize_t sent = session ? gnutls_record_send(session, bytes, len) : send(fd, bytes, len, MSG_NOSIGNAL);
    if (sent < 0 && session)
        errno = gnutls_error_is_fatal((int)sent) ? EPIPE : EINTR;
    return sent;
}
