/* SPDX-License-Identifier: MIT */
#pragma once

/* TLS 1.2 and 1.3 (RFC 5246, RFC 8446), the server's side: what stands between a socket and whoever reads and
 * writes it. A session belongs to a descriptor; socket_read and its like find it there, so nobody above them
 * knows whether there is one. On the thread of the shard that has the connection, unless it says otherwise.
 *
 * What tls_write has taken is encrypted and on its way: of that the kernel may not have taken up to a record
 * yet, which the session owes. Whoever writes has to see to it (tls_is_owing, tls_flush) that it gets out.
 *
 * What a session keeps is counted in connection-memory: itself, and what stands in it of records that have
 * not come whole, are not read or not sent. One that there is no room for is not begun; one that takes more
 * than there is breaks off.
 *
 * Renegotiation, 0-RTT and compression are refused. A peer that ends without close_notify has not ended but
 * broken off (RFC 8446, section 6.1).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#define TLS_FAULT_MAX 1024u
/* The most of plain text in a record. */
#define TLS_RECORD_MOST 16384u
#define TLS_SUBJECT_MAX 256u

struct grant;
struct memory_budget;
struct tls;

/* Whether clients show certificates. */
enum tls_clients { TLS_CLIENTS_NONE, TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED };

/* What a listener's identity is made of. */
struct tls_files {
    char *cert; /* NULL: no TLS */
    char *key;
    char *client_ca; /* who signs the certificates of clients; NULL when they have none */
    enum tls_clients clients;
    const char *protocol; /* that is spoken within, as in ALPN (RFC 7301) */
};

/* Who a listener is, and whom it trusts: immutable, atomically counted, any thread. */
struct tls_identity;

/* Reads the files. Returns 0, or -EINVAL or -ENOMEM with `fault` a sentence. */
int tls_identity_new(struct tls_identity **identity, const struct tls_files *files,
                     char fault[TLS_FAULT_MAX]);
struct tls_identity *tls_identity_ref(struct tls_identity *identity);
void tls_identity_unref(struct tls_identity *identity);

/* When the certificate ends, in seconds since 1970. */
time_t tls_identity_ends(const struct tls_identity *identity);

/* The sessions of the process, by descriptor. */
extern struct tls_table {
    _Atomic(struct tls *) *sessions;
    size_t size;
} tls_table;

/* Makes room for the sessions of as many descriptors as the process may have; main thread, before any
 * session. Costs memory only where it is used. Returns 0 or -ENOMEM. */
int tls_table_init(void);
void tls_table_deinit(void);

/* The session of a descriptor; NULL when it has none. */
static inline struct tls *tls_of(int fd)
{
    return (size_t)fd < tls_table.size ? atomic_load_explicit(&tls_table.sessions[fd], memory_order_relaxed)
                                       : NULL;
}

/* Gives a connection a session, which is counted in `budget` as long as it lives. Returns 0, -EMFILE when
 * there is no room for this descriptor, -ENOBUFS when there is none in the budget, or -ENOMEM. */
int tls_begin(int fd, struct tls_identity *identity, struct memory_budget *budget);

enum tls_progress { TLS_WAITING, TLS_DONE, TLS_FAILED };

/* Goes on with the handshake as far as it goes without waiting, for bytes or for room. A peer that cannot be
 * agreed with has been told why. */
enum tls_progress tls_handshake(struct tls *tls);

/* As recv(), and sendmsg(). */
ssize_t tls_read(struct tls *tls, char *to, size_t size);

/* As recv(), but leaves in the socket what might not fit, so that nothing waits in the session; `size` is at
 * least TLS_RECORD_MOST. */
ssize_t tls_read_records(struct tls *tls, char *to, size_t size);

ssize_t tls_write_parts(struct tls *tls, const struct iovec *parts, int count);

/* Whether decrypted bytes wait in the session, of which the kernel tells nobody. */
bool tls_is_holding(const struct tls *tls);

/* Whether some of what was written, or the end, is still to be sent. */
bool tls_is_owing(const struct tls *tls);

/* Sends what is owed. Returns whether nothing is owed any more. */
bool tls_flush(struct tls *tls);

/* Tells the peer that it was all, behind what is owed: close_notify, then the end of what is sent. */
void tls_end(struct tls *tls);

/* Takes the session from its descriptor, before somebody else closes that, and gives it to another one of the
 * same connection. NULL is no session. */
struct tls *tls_take(int fd);
void tls_give(int fd, struct tls *tls);

/* Frees a session, or that of a descriptor, if there is one, and tells the peer nothing. */
void tls_free(struct tls *tls);
void tls_forget(int fd);

/* Who the client is by the certificate that it has shown; NULL when it has shown none. Borrowed; lives at
 * least as long as the session. Its subject is the first URI, DNS name or mail address among the
 * certificate's alternative names, otherwise the common name; it may do on every channel what needs a token,
 * until the certificate ends. */
struct grant *tls_grant(int fd);
