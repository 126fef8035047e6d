/* SPDX-License-Identifier: MIT */
#include "broker/redis/secure.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/container.h"
#include "broker/redis/trust.h"

/* The most of plain text in a record (RFC 8446, section 5.1). */
#define SECURE_RECORD_MOST 16384u
#define SECURE_NAME_MAX 256u

struct secure {
    gnutls_session_t session;
    struct trust *trust;
    int fd;
    bool is_dry;   /* the socket had no more bytes for the call that is under way */
    bool is_owing; /* a record has been taken and is still to be sent */
    bool is_refused;
    bool has_data;                   /* some has come */
    char name[SECURE_NAME_MAX];      /* expected */
    gnutls_typed_vdata_st wanted[2]; /* of the certificate: that name, and that it is a server's */
    char fault[SECURE_FAULT_MAX];
};

/* The host of host:port or [v6]:port. */
static void secure_name_host(struct secure *secure, const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : strlen(address);
    if (len > 1 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    snprintf(secure->name, sizeof(secure->name), "%.*s", (int)len, address);
}

/* A number has no SNI (RFC 6066, section 3). */
static bool secure_is_number(const char *name)
{
    return strchr(name, ':') || strspn(name, "0123456789.") == strlen(name);
}

static int secure_prepare(struct secure *secure)
{
    int error = gnutls_init(&secure->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
    if (!error)
        error = gnutls_priority_set(secure->session, secure->trust->priority);
    if (!error)
        error = gnutls_credentials_set(secure->session, GNUTLS_CRD_CERTIFICATE, secure->trust->credentials);
    if (!error && !secure_is_number(secure->name))
        error = gnutls_server_name_set(secure->session, GNUTLS_NAME_DNS, secure->name, strlen(secure->name));
    if (error)
        return error;
    secure->wanted[0] = (gnutls_typed_vdata_st){.type = GNUTLS_DT_DNS_HOSTNAME, .data = (void *)secure->name};
    secure->wanted[1] = (gnutls_typed_vdata_st){.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                                .data = (void *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER};
    gnutls_session_set_verify_cert2(secure->session, secure->wanted, ARRAY_LENGTH(secure->wanted), 0);
    return 0;
}

static ssize_t secure_pull(gnutls_transport_ptr_t of, void *to, size_t size)
{
    struct secure *secure = of;
    ssize_t len = recv(secure->fd, to, size, 0);
    secure->is_dry = secure->is_dry || (len < 0 && errno == EAGAIN);
    return len;
}

static ssize_t secure_push(gnutls_transport_ptr_t of, const void *from, size_t len)
{
    return send(((struct secure *)of)->fd, from, len, MSG_NOSIGNAL);
}

void secure_begin(struct secure *secure, int fd)
{
    secure->fd = fd;
    gnutls_transport_set_ptr(secure->session, secure);
    gnutls_transport_set_pull_function(secure->session, secure_pull);
    gnutls_transport_set_push_function(secure->session, secure_push);
}

struct secure *secure_new(struct trust *trust, const char *address)
{
    struct secure *secure = calloc(1, sizeof(*secure));
    if (!secure)
        return NULL;
    secure->trust = trust_ref(trust);
    if (trust->name)
        snprintf(secure->name, sizeof(secure->name), "%s", trust->name);
    else
        secure_name_host(secure, address);
    if (secure_prepare(secure) == 0)
        return secure;
    secure_free(secure);
    return NULL;
}

void secure_free(struct secure *secure)
{
    if (!secure)
        return;
    if (secure->session)
        gnutls_deinit(secure->session);
    trust_unref(secure->trust);
    free(secure);
}

/* GnuTLS's sentence on a certificate, with the name that it should have had. */
static void secure_tell_certificate(struct secure *secure)
{
    unsigned status = gnutls_session_get_verify_cert_status(secure->session);
    gnutls_datum_t text = {0};
    (void)gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0); /* none is empty */
    snprintf(secure->fault, sizeof(secure->fault), "the certificate shown is not that of %.64s: %.150s",
             secure->name, text.data ? (const char *)text.data : "it cannot be verified");
    gnutls_free(text.data);
}

/* Returns what is returned for an error of GnuTLS. Who cannot be written to any more may have said why: in
 * TLS 1.3 a client is refused after it has begun to write. */
static int secure_fail(struct secure *secure, int error)
{
    char last[64];
    if (!gnutls_error_is_fatal(error))
        return -EAGAIN;
    if (error == GNUTLS_E_PUSH_ERROR &&
        gnutls_record_recv(secure->session, last, sizeof(last)) == GNUTLS_E_FATAL_ALERT_RECEIVED)
        error = GNUTLS_E_FATAL_ALERT_RECEIVED;
    secure->is_refused = true;
    if (error == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR || error == GNUTLS_E_CERTIFICATE_ERROR)
        secure_tell_certificate(secure);
    else if (error == GNUTLS_E_FATAL_ALERT_RECEIVED)
        snprintf(secure->fault, sizeof(secure->fault), "Redis refuses this client's TLS: %s",
                 gnutls_alert_get_name(gnutls_alert_get(secure->session)));
    else if (error == GNUTLS_E_UNEXPECTED_PACKET_LENGTH || error == GNUTLS_E_UNSUPPORTED_VERSION_PACKET ||
             error == GNUTLS_E_UNEXPECTED_PACKET)
        snprintf(
            secure->fault, sizeof(secure->fault),
            "what answers there does not speak TLS: redis:// is without, and Redis listens for TLS at its "
            "tls-port");
    else if (error == GNUTLS_E_PREMATURE_TERMINATION || error == GNUTLS_E_PULL_ERROR ||
             error == GNUTLS_E_PUSH_ERROR) {
        snprintf(secure->fault, sizeof(secure->fault), "Redis has closed the connection%s",
                 secure->has_data ? "" : " before it said anything in TLS");
        secure->is_refused = false;
    } else
        snprintf(secure->fault, sizeof(secure->fault), "TLS: %s", gnutls_strerror(error));
    return -EPROTO;
}

/* GnuTLS also says AGAIN when it has read something that is no data, a session ticket say, and then no
 * further event tells of what the socket still has. */
static bool secure_has_to_wait(const struct secure *secure, ssize_t result)
{
    return result == GNUTLS_E_AGAIN && (secure->is_dry || gnutls_record_get_direction(secure->session) == 1);
}

int secure_handshake(struct secure *secure)
{
    int error;
    secure->is_dry = false;
    /* A warning ends a call, not the handshake. */
    do
        error = gnutls_handshake(secure->session);
    while (error < 0 && !secure_has_to_wait(secure, error) && !gnutls_error_is_fatal(error));
    return error ? secure_fail(secure, error) : 0;
}

ssize_t secure_read(struct secure *secure, char *to, size_t size)
{
    ssize_t len;
    secure->is_dry = false;
    do
        len = gnutls_record_recv(secure->session, to, size);
    while (len < 0 && len != GNUTLS_E_REHANDSHAKE && !secure_has_to_wait(secure, len) &&
           !gnutls_error_is_fatal((int)len));
    if (len == GNUTLS_E_REHANDSHAKE) {
        snprintf(secure->fault, sizeof(secure->fault),
                 "TLS: Redis wants another handshake, which is refused");
        return -EPROTO;
    }
    secure->has_data = secure->has_data || len > 0;
    return len < 0 ? secure_fail(secure, (int)len) : len;
}

ssize_t secure_write(struct secure *secure, const struct iovec *parts, int count)
{
    char record[SECURE_RECORD_MOST];
    size_t len = 0;
    for (int i = 0; !secure->is_owing && i < count && len < sizeof(record); i++) {
        size_t part = parts[i].iov_len < sizeof(record) - len ? parts[i].iov_len : sizeof(record) - len;
        memcpy(record + len, parts[i].iov_base, part);
        len += part;
    }
    /* GnuTLS keeps a record that it could not send, and is asked for it without data. */
    ssize_t sent;
    do {
        sent =
            gnutls_record_send(secure->session, secure->is_owing ? NULL : record, secure->is_owing ? 0 : len);
        secure->is_owing = sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
    } while (sent == GNUTLS_E_INTERRUPTED);
    return sent < 0 ? secure_fail(secure, (int)sent) : sent;
}

const char *secure_fault(const struct secure *secure)
{
    return secure->fault;
}

bool secure_is_refused(const struct secure *secure)
{
    return secure->is_refused;
}

void secure_end(struct secure *secure)
{
    /* A peer that is not told so has lost nothing: what it owed us is not awaited any more. */
    (void)gnutls_bye(secure->session, GNUTLS_SHUT_WR);
}
