/* SPDX-License-Identifier: MIT */
/* What a peer may send instead of a handshake, or of records after one. The first byte says which. */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "paper.h"
#include "shard/memory_share.h"
#include "shard/socket.h"
#include "shard/tls.h"

#define PIECE_BYTES 1500u
#define TURNS 100u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_identity *make_identity(void)
{
    static const struct paper_names names = {.common = "fuzz"};
    char folder[] = "/tmp/sluice-tls-fuzz-XXXXXX";
    char fault[TLS_FAULT_MAX];
    struct paper paper;
    struct tls_identity *identity;
    paper_need(mkdtemp(folder) && tls_table_init() == 0);
    paper_make(&paper, folder, "fuzz", &names, time(NULL));
    struct tls_files files = {.cert = paper.cert,
                              .key = paper.key,
                              .client_ca = paper.cert,
                              .clients = TLS_CLIENTS_OPTIONAL,
                              .protocol = "http/1.1"};
    paper_need(tls_identity_new(&identity, &files, fault) == 0);
    unlink(paper.cert);
    unlink(paper.key);
    rmdir(folder);
    return identity;
}

static void shake_hands(int fd, int peer_fd)
{
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t client;
    enum tls_progress progress = TLS_WAITING;
    paper_need(gnutls_certificate_allocate_credentials(&credentials) == 0);
    paper_need(gnutls_init(&client, GNUTLS_CLIENT | GNUTLS_NONBLOCK) == 0);
    gnutls_set_default_priority(client);
    gnutls_credentials_set(client, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(client, peer_fd);
    for (unsigned i = 0; i < TURNS && progress == TLS_WAITING; i++) {
        (void)gnutls_handshake(client); /* it waits for the other side, mostly */
        progress = tls_handshake(tls_of(fd));
    }
    paper_need(progress == TLS_DONE);
    gnutls_deinit(client);
    gnutls_certificate_free_credentials(credentials);
}

/* Of bytes that nobody has encrypted none may come out. */
static void send_pieces(int fd, int peer_fd, const uint8_t *data, size_t size, bool is_open)
{
    char room[PIECE_BYTES];
    enum tls_progress progress = is_open ? TLS_DONE : TLS_WAITING;
    for (size_t at = 0; at < size && progress != TLS_FAILED; at += PIECE_BYTES) {
        size_t len = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
        paper_need(send(peer_fd, data + at, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0);
        if (progress == TLS_WAITING)
            progress = tls_handshake(tls_of(fd));
        if (progress == TLS_DONE && socket_read(fd, room, sizeof(room)) > 0)
            abort();
        while (recv(peer_fd, room, sizeof(room), MSG_DONTWAIT) > 0)
            continue;
    }
    if (progress == TLS_DONE) {
        (void)socket_write(fd, "x", 1); /* to a session that may be broken */
        socket_end(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tls_identity *identity;
    static struct memory_budget budget = {.most = UINT32_MAX};
    int pair[2];
    if (!identity)
        identity = make_identity();
    if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        return 0;
    bool is_open = data[0] & 1;
    paper_need(tls_begin(pair[0], identity, &budget) == 0);
    if (is_open)
        shake_hands(pair[0], pair[1]);
    send_pieces(pair[0], pair[1], data + 1, size - 1, is_open);
    shutdown(pair[1], SHUT_WR);
    close(pair[1]);
    socket_close(pair[0]);
    return 0;
}
