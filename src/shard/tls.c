/* SPDX-License-Identifier: MIT */
#include "shard/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "auth/grant.h"
#include "shard/memory_share.h"
#include "shard/tls_identity.h"

/* Messages that are no data, in a row, before a peer is taken to be playing. */
#define TLS_WARNINGS_MOST 8u
/* More descriptors than anybody has: a table of 128 MiB, of which the kernel gives what is touched. */
#define TLS_DESCRIPTORS_MOST (1u << 24)
/* Extensions in which a client says how long records may be (RFC 6066, section 4; RFC 8449). */
#define TLS_EXTENSION_FRAGMENT 1u
#define TLS_EXTENSION_RECORD 28u
#define TLS_RECORD_LEAST 64u

/* What a session has resident, as measured: at rest, and while hands are shaken. */
#define TLS_SESSION_BYTES 11264u
#define TLS_HANDSHAKE_BYTES 18432u
/* What stands in a session besides is counted in such steps, so that it is not with each read. */
#define TLS_KEPT_STEP 4096u
/* The longest message of a handshake, which may be a chain of certificates. */
#define TLS_MESSAGE_MOST 32768u

struct tls {
    gnutls_session_t session;
    struct tls_identity *identity;
    struct memory_budget *budget;
    struct memory_share share; /* of the session itself */
    struct memory_share kept;  /* of what stands in it besides */
    size_t pulled;             /* bytes since the last whole record, or in this handshake */
    int fd;
    uint16_t record_most; /* of plain text, that the peer takes in one record */
    bool is_owing;        /* a record, or a part of one */
    bool is_ended;        /* tls_end was called: nothing is written any more */
    bool is_ending;       /* and there is some of it to be sent */
    bool has_ended;       /* the peer has said that it was all */
    bool is_broken;
    bool is_dry;         /* the socket had nothing more when it was last read */
    struct grant *grant; /* of the client's certificate; NULL without one */
};

/* The table. */

struct tls_table tls_table;

int tls_table_init(void)
{
    struct rlimit limit;
    size_t size = TLS_DESCRIPTORS_MOST;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < size)
        size = (size_t)limit.rlim_cur;
    void *room = mmap(NULL, size * sizeof(*tls_table.sessions), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -ENOMEM;
    tls_table = (struct tls_table){.sessions = room, .size = size};
    return 0;
}

void tls_table_deinit(void)
{
    if (tls_table.sessions)
        munmap(tls_table.sessions, tls_table.size * sizeof(*tls_table.sessions));
    tls_table = (struct tls_table){0};
}

/* A descriptor that one thread closes another gets: the kernel has put the two in order by then. */
static void tls_put(int fd, struct tls *tls)
{
    atomic_store_explicit(&tls_table.sessions[fd], tls, memory_order_relaxed);
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    if (tls->session)
        gnutls_deinit(tls->session);
    (void)memory_share_resize(&tls->share, tls->budget, 0); /* less always fits */
    (void)memory_share_resize(&tls->kept, tls->budget, 0);
    tls_identity_unref(tls->identity);
    grant_unref(tls->grant);
    free(tls);
}

struct tls *tls_take(int fd)
{
    struct tls *tls = tls_of(fd);
    if (tls)
        tls_put(fd, NULL);
    return tls;
}

void tls_give(int fd, struct tls *tls)
{
    if (!tls)
        return;
    tls->fd = fd;
    if ((size_t)fd < tls_table.size) {
        tls_put(fd, tls);
        return;
    }
    tls_free(tls);
    shutdown(fd, SHUT_RDWR); /* nothing goes over it in plain text */
}

void tls_forget(int fd)
{
    tls_free(tls_take(fd));
}

/* The socket's side. */

static ssize_t tls_push(gnutls_transport_ptr_t context, const giovec_t *parts, int count)
{
    const struct tls *tls = context;
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    return syscall(SYS_sendmsg, tls->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t tls_pull(gnutls_transport_ptr_t context, void *to, size_t size)
{
    struct tls *tls = context;
    ssize_t got = syscall(SYS_recvfrom, tls->fd, to, size, MSG_DONTWAIT, NULL, NULL);
    tls->is_dry = got < 0 && errno == EAGAIN;
    tls->pulled += got > 0 ? (size_t)got : 0;
    return got;
}

/* A client that takes shorter records than others is believed a byte less than it says: in TLS 1.3 the kind
 * of the record is one of them. */
static int tls_see_extension(void *context, unsigned id, const unsigned char *data, unsigned size)
{
    struct tls *tls = context;
    unsigned most = TLS_RECORD_MOST;
    if (id == TLS_EXTENSION_FRAGMENT && size == 1 && data[0] >= 1 && data[0] <= 4)
        most = 256u << data[0];
    else if (id == TLS_EXTENSION_RECORD && size == 2)
        most = (unsigned)data[0] << 8 | data[1];
    if (most < tls->record_most)
        tls->record_most = (uint16_t)(most > TLS_RECORD_LEAST ? most - 1 : TLS_RECORD_LEAST - 1);
    return 0;
}

static int tls_see_hello(gnutls_session_t session, unsigned type, unsigned when, unsigned is_incoming,
                         const gnutls_datum_t *message)
{
    (void)type;
    (void)when;
    return is_incoming ? gnutls_ext_raw_parse(gnutls_session_get_ptr(session), tls_see_extension, message,
                                              GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO)
                       : 0;
}

static int tls_open_session(struct tls *tls)
{
    int err = gnutls_init(&tls->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (err) {
        tls->session = NULL;
        return err;
    }
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_vec_push_function(tls->session, tls_push);
    gnutls_transport_set_pull_function(tls->session, tls_pull);
    gnutls_handshake_set_max_packet_length(tls->session, TLS_MESSAGE_MOST);
    gnutls_handshake_set_hook_function(tls->session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE,
                                       tls_see_hello);
    return tls_identity_apply(tls->identity, tls->session);
}

int tls_begin(int fd, struct tls_identity *identity, struct memory_budget *budget)
{
    struct memory_share share = {0};
    if ((size_t)fd >= tls_table.size)
        return -EMFILE;
    if (!memory_share_begin(&share, budget, TLS_HANDSHAKE_BYTES))
        return -ENOBUFS;
    struct tls *tls = calloc(1, sizeof(*tls));
    if (!tls) {
        (void)memory_share_resize(&share, budget, 0); /* less always fits */
        return -ENOMEM;
    }
    *tls = (struct tls){.identity = tls_identity_ref(identity),
                        .budget = budget,
                        .share = share,
                        .fd = fd,
                        .record_most = TLS_RECORD_MOST};
    if (tls_open_session(tls)) {
        tls_free(tls);
        return -ENOMEM;
    }
    tls_put(fd, tls);
    return 0;
}

/* Nothing more can be read or written. */
static ssize_t tls_fail(struct tls *tls, int error)
{
    if (!tls->is_broken && gnutls_error_is_fatal(error))
        (void)gnutls_alert_send_appropriate(tls->session, error); /* who does not take it sees the end */
    tls->is_broken = true;
    tls->is_owing = false;
    tls->is_ending = false;
    errno = ECONNRESET;
    return -1;
}

/* Counts what the session keeps now. A peer for whose records there is no room is cut: what has come of them
 * cannot be given back. */
static void tls_weigh(struct tls *tls)
{
    size_t kept =
        tls->pulled + gnutls_record_check_pending(tls->session) + (tls->is_owing ? TLS_RECORD_MOST : 0);
    size_t bytes = kept / TLS_KEPT_STEP * TLS_KEPT_STEP;
    if (bytes != tls->kept.bytes && !tls->is_broken && !memory_share_resize(&tls->kept, tls->budget, bytes))
        (void)tls_fail(tls, GNUTLS_E_MEMORY_ERROR);
}

static bool tls_is_waiting(int error)
{
    return error == GNUTLS_E_AGAIN || error == GNUTLS_E_INTERRUPTED;
}

enum tls_progress tls_handshake(struct tls *tls)
{
    int error = GNUTLS_E_WARNING_ALERT_RECEIVED;
    for (unsigned i = 0; i < TLS_WARNINGS_MOST && error && !tls_is_waiting(error); i++) {
        error = gnutls_handshake(tls->session);
        if (error && gnutls_error_is_fatal(error))
            break;
    }
    if (tls_is_waiting(error)) {
        tls_weigh(tls);
        return tls->is_broken ? TLS_FAILED : TLS_WAITING;
    }
    if (!error)
        error = tls_identity_verify(tls->session);
    if (!error)
        error = tls_identity_read_client(tls->session, &tls->grant);
    if (error)
        (void)tls_fail(tls, error);
    tls->pulled = 0;
    tls_weigh(tls);
    (void)memory_share_resize(&tls->share, tls->budget, TLS_SESSION_BYTES); /* less always fits */
    return error ? TLS_FAILED : TLS_DONE;
}

/* Reading. */

bool tls_is_holding(const struct tls *tls)
{
    return gnutls_record_check_pending(tls->session) > 0;
}

static ssize_t tls_would_wait(void)
{
    errno = EAGAIN;
    return -1;
}

/* Of what was read before it broke nothing is held back: the next read says it. A peer that wants to
 * negotiate again, or talks of other things than data, is cut. Behind such things GnuTLS says that it would
 * wait while there is more in the socket. */
static ssize_t tls_read_while(struct tls *tls, char *to, size_t size, size_t room_least)
{
    size_t got = 0;
    unsigned warnings = 0;
    while (size - got >= room_least && !tls->has_ended && !tls->is_broken) {
        tls->is_dry = false;
        ssize_t len = gnutls_record_recv(tls->session, to + got, size - got);
        bool is_other =
            len == GNUTLS_E_WARNING_ALERT_RECEIVED || (len < 0 && tls_is_waiting((int)len) && !tls->is_dry);
        if (len >= 0 || is_other)
            tls->pulled = 0;
        bool is_warning = is_other && ++warnings < TLS_WARNINGS_MOST;
        if (len > 0)
            got += (size_t)len;
        else if (len == 0)
            tls->has_ended = true;
        else if (!is_other && tls_is_waiting((int)len))
            break;
        else if (!is_warning)
            (void)tls_fail(tls, (int)len);
    }
    tls_weigh(tls);
    if (got > 0 || size == 0 || tls->has_ended)
        return (ssize_t)got;
    if (!tls->is_broken)
        return tls_would_wait();
    errno = ECONNRESET;
    return -1;
}

ssize_t tls_read(struct tls *tls, char *to, size_t size)
{
    return tls_read_while(tls, to, size, 1);
}

ssize_t tls_read_records(struct tls *tls, char *to, size_t size)
{
    return tls_read_while(tls, to, size, TLS_RECORD_MOST);
}

/* Writing. */

bool tls_is_owing(const struct tls *tls)
{
    return tls->is_owing || tls->is_ending;
}

static bool tls_flush_records(struct tls *tls)
{
    ssize_t sent = tls->is_owing ? gnutls_record_send(tls->session, NULL, 0) : 0;
    if (sent < 0 && tls_is_waiting((int)sent))
        return false;
    if (sent < 0)
        (void)tls_fail(tls, (int)sent);
    tls->is_owing = false;
    tls_weigh(tls);
    return true;
}

static bool tls_flush_end(struct tls *tls)
{
    int error = gnutls_bye(tls->session, GNUTLS_SHUT_WR);
    if (tls_is_waiting(error))
        return false;
    tls->is_ending = false;
    shutdown(tls->fd, SHUT_WR);
    return true;
}

bool tls_flush(struct tls *tls)
{
    return tls_flush_records(tls) && (!tls->is_ending || tls_flush_end(tls));
}

void tls_end(struct tls *tls)
{
    if (tls->is_broken) {
        shutdown(tls->fd, SHUT_WR);
        return;
    }
    tls->is_ending = tls->is_ending || !tls->is_ended;
    tls->is_ended = true;
    (void)tls_flush(tls); /* whoever ends looks whether something is owed */
}

/* What is to be written, and how far it has been. */
struct tls_text {
    const struct iovec *parts;
    int count;
    size_t at; /* in the first part */
};

/* The next record: in place where it is of one part, or gathered in `room`. */
static size_t tls_gather(struct tls_text *text, char room[TLS_RECORD_MOST], size_t most, const char **bytes)
{
    size_t len = 0;
    *bytes = room;
    while (text->count > 0 && len < most) {
        const char *part = (const char *)text->parts->iov_base + text->at;
        size_t left = text->parts->iov_len - text->at;
        size_t taken = left < most - len ? left : most - len;
        bool is_alone = len == 0 && (taken == most || text->count == 1);
        if (is_alone)
            *bytes = part;
        else if (taken > 0)
            memcpy(room + len, part, taken);
        len += taken;
        text->at += taken;
        if (taken == left) {
            text->parts++;
            text->count--;
            text->at = 0;
        }
    }
    return len;
}

/* Returns whether the peer takes more. */
static bool tls_write_record(struct tls *tls, const char *bytes, size_t len)
{
    ssize_t sent = gnutls_record_send(tls->session, bytes, len);
    tls->is_owing = sent < 0 && tls_is_waiting((int)sent);
    /* No record is longer than the peer takes, so each is taken whole. */
    if (!tls->is_owing && sent != (ssize_t)len)
        (void)tls_fail(tls, sent < 0 ? (int)sent : GNUTLS_E_INTERNAL_ERROR);
    tls_weigh(tls);
    return !tls->is_owing && !tls->is_broken;
}

ssize_t tls_write_parts(struct tls *tls, const struct iovec *parts, int count)
{
    char room[TLS_RECORD_MOST];
    struct tls_text text = {.parts = parts, .count = count};
    size_t written = 0;
    bool is_taking = !tls->is_broken && !tls->is_ended && tls_flush_records(tls) && !tls->is_broken;
    while (is_taking && text.count > 0) {
        const char *bytes;
        size_t len = tls_gather(&text, room, tls->record_most, &bytes);
        is_taking = len == 0 || tls_write_record(tls, bytes, len);
        written += len;
    }
    if (tls->is_broken || tls->is_ended) {
        errno = EPIPE;
        return -1;
    }
    return written > 0 || count == 0 || is_taking ? (ssize_t)written : tls_would_wait();
}

struct grant *tls_grant(int fd)
{
    const struct tls *tls = tls_of(fd);
    return tls ? tls->grant : NULL;
}
