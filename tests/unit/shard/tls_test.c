/* SPDX-License-Identifier: MIT */
/* Sessions of TLS over a pair of sockets, whose other end is GnuTLS's client. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth/grant.h"
#include "paper.h"
#include "shard/memory_share.h"
#include "shard/socket.h"
#include "shard/tls.h"

#define BUDGET_BYTES (1u << 20)

static const struct paper_names server_names = {.common = "server"};
static char folder[] = "/tmp/sluice-tls-test-XXXXXX";
static time_t now_s;
static struct memory_budget budget = {.most = BUDGET_BYTES};

/* A server's session and a client of it. */
struct couple {
    int fd;
    int client_fd;
    gnutls_session_t client;
    gnutls_certificate_credentials_t credentials;
};

static void couple_open(struct couple *couple, struct tls_identity *identity, const struct paper *paper)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    couple->fd = pair[0];
    couple->client_fd = pair[1];
    gnutls_certificate_allocate_credentials(&couple->credentials);
    if (paper)
        assert_int_equal(gnutls_certificate_set_x509_key_file(couple->credentials, paper->cert, paper->key,
                                                              GNUTLS_X509_FMT_PEM),
                         0);
    gnutls_init(&couple->client, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
    gnutls_set_default_priority(couple->client);
    gnutls_credentials_set(couple->client, GNUTLS_CRD_CERTIFICATE, couple->credentials);
    gnutls_transport_set_int(couple->client, couple->client_fd);
    assert_int_equal(tls_begin(couple->fd, identity, &budget), 0);
}

static enum tls_progress couple_shake_hands(struct couple *couple)
{
    enum tls_progress progress = TLS_WAITING;
    int error = GNUTLS_E_AGAIN;
    for (unsigned i = 0; i < 100 && (progress == TLS_WAITING || error == GNUTLS_E_AGAIN); i++) {
        error = error == GNUTLS_E_AGAIN ? gnutls_handshake(couple->client) : error;
        progress = progress == TLS_WAITING ? tls_handshake(tls_of(couple->fd)) : progress;
    }
    return progress;
}

/* A ticket that comes before the data is a turn without any. */
static ssize_t couple_receive(struct couple *couple, char *to, size_t size)
{
    ssize_t len = GNUTLS_E_AGAIN;
    for (unsigned i = 0; i < 4 && len == GNUTLS_E_AGAIN; i++)
        len = gnutls_record_recv(couple->client, to, size);
    return len;
}

static void couple_close(struct couple *couple)
{
    gnutls_deinit(couple->client);
    gnutls_certificate_free_credentials(couple->credentials);
    close(couple->client_fd);
    socket_close(couple->fd);
    assert_null(tls_of(couple->fd));
}

static struct tls_identity *make_identity(const struct paper *paper, const struct paper *authority)
{
    char fault[TLS_FAULT_MAX];
    struct tls_identity *identity;
    struct tls_files files = {.cert = (char *)(uintptr_t)paper->cert,
                              .key = (char *)(uintptr_t)paper->key,
                              .client_ca = authority ? (char *)(uintptr_t)authority->cert : NULL,
                              .clients = authority ? TLS_CLIENTS_OPTIONAL : TLS_CLIENTS_NONE,
                              .protocol = "http/1.1"};
    if (tls_identity_new(&identity, &files, fault))
        fail_msg("%s", fault);
    return identity;
}

/* A couple whose handshake is done, the client without a certificate. */
static void couple_agree(struct couple *couple)
{
    struct paper paper;
    paper_make(&paper, folder, "server", &server_names, now_s);
    struct tls_identity *identity = make_identity(&paper, NULL);
    assert_int_equal(tls_identity_ends(identity), now_s + PAPER_LIFE_S);
    couple_open(couple, identity, NULL);
    tls_identity_unref(identity); /* the session has its own reference */
    assert_int_equal(couple_shake_hands(couple), TLS_DONE);
}

static void test_tls_carries_bytes_both_ways_and_says_its_end(void **state)
{
    char got[64];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    assert_null(tls_grant(couple.fd));
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(gnutls_record_send(couple.client, "question", 8), 8);
    assert_int_equal(socket_read(couple.fd, got, 3), 3);
    assert_true(socket_is_holding(couple.fd));
    assert_int_equal(socket_read(couple.fd, got + 3, sizeof(got) - 3), 5);
    assert_memory_equal(got, "question", 8);
    assert_false(socket_is_holding(couple.fd));
    const struct iovec parts[] = {{(char *)(uintptr_t) "an", 2}, {NULL, 0}, {(char *)(uintptr_t) "swer", 4}};
    assert_int_equal(socket_write_parts(couple.fd, parts, 3), 6);
    assert_int_equal(couple_receive(&couple, got, sizeof(got)), 6);
    assert_memory_equal(got, "answer", 6);
    socket_end(couple.fd);
    assert_false(socket_is_owing(couple.fd));
    assert_int_equal(couple_receive(&couple, got, sizeof(got)), 0);
    assert_int_equal(socket_write(couple.fd, "more", 4), -1);
    assert_int_equal(gnutls_bye(couple.client, GNUTLS_SHUT_WR), 0);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), 0);
    couple_close(&couple);
}

static void test_tls_tells_a_cut_from_an_end(void **state)
{
    char got[64];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    assert_int_equal(gnutls_record_send(couple.client, "half", 4), 4);
    shutdown(couple.client_fd, SHUT_WR);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), 4);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, ECONNRESET);
    couple_close(&couple);
}

static void test_tls_owes_at_most_a_record_and_pays(void **state)
{
    static char sent[1 << 20];
    static char got[1 << 20];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char)(i * i >> 7);
    size_t written = 0;
    size_t received = 0;
    bool was_owing = false;
    while (received < sizeof(sent)) {
        if (socket_flush(couple.fd) && written < sizeof(sent)) {
            ssize_t taken = socket_write(couple.fd, sent + written, sizeof(sent) - written);
            written += taken > 0 ? (size_t)taken : 0;
        }
        if (socket_is_owing(couple.fd)) {
            was_owing = true;
            assert_int_equal(socket_write(couple.fd, "x", 1), -1);
            assert_int_equal(errno, EAGAIN);
        }
        ssize_t len = gnutls_record_recv(couple.client, got + received, sizeof(got) - received);
        received += len > 0 ? (size_t)len : 0;
    }
    assert_true(was_owing);
    assert_false(socket_is_owing(couple.fd));
    assert_memory_equal(sent, got, sizeof(sent));
    couple_close(&couple);
}

/* What the client has sent last, as it goes over the wire; it is kept here instead. */
static struct {
    char bytes[2 * TLS_RECORD_MOST];
    size_t len;
} wire;

static ssize_t keep_record(gnutls_transport_ptr_t context, const void *bytes, size_t len)
{
    (void)context;
    assert_true(len <= sizeof(wire.bytes) - wire.len);
    memcpy(wire.bytes + wire.len, bytes, len);
    wire.len += len;
    return (ssize_t)len;
}

/* Has the client write a record, of which all but the last byte is sent. */
static void couple_send_most_of_a_record(struct couple *couple, size_t size)
{
    static char text[TLS_RECORD_MOST];
    wire.len = 0;
    gnutls_transport_set_push_function(couple->client, keep_record);
    assert_int_equal(gnutls_record_send(couple->client, text, size), size);
    assert_int_equal(send(couple->client_fd, wire.bytes, wire.len - 1, 0), wire.len - 1);
}

static void test_tls_counts_a_session_and_what_stands_in_it(void **state)
{
    static char got[1 << 20];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    uint64_t at_rest = budget.used;
    assert_in_range(at_rest, 10000, 12000);
    couple_send_most_of_a_record(&couple, TLS_RECORD_MOST);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(budget.used, at_rest + TLS_RECORD_MOST);
    assert_int_equal(send(couple.client_fd, wire.bytes + wire.len - 1, 1, 0), 1);
    assert_int_equal(socket_read(couple.fd, got, 1), 1);
    assert_int_equal(budget.used, at_rest + TLS_RECORD_MOST / 4 * 3); /* in whole steps */
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), TLS_RECORD_MOST - 1);
    assert_int_equal(budget.used, at_rest);
    while (!socket_is_owing(couple.fd))
        assert_true(socket_write(couple.fd, got, sizeof(got)) > 0);
    assert_int_equal(budget.used, at_rest + TLS_RECORD_MOST);
    while (!socket_flush(couple.fd))
        (void)gnutls_record_recv(couple.client, got, sizeof(got));
    assert_int_equal(budget.used, at_rest);
    couple_close(&couple);
    assert_int_equal(budget.used, 0);
    assert_int_equal(budget.refused, 0);
}

static void test_tls_begins_no_session_when_half_of_the_memory_is_used(void **state)
{
    struct paper paper;
    struct couple held;
    int pair[2];
    (void)state;
    couple_agree(&held);
    uint64_t at_rest = budget.used;
    budget.most = 2 * (at_rest + 18000);
    paper_make(&paper, folder, "server", &server_names, now_s);
    struct tls_identity *identity = make_identity(&paper, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(tls_begin(pair[0], identity, &budget), -ENOBUFS);
    assert_null(tls_of(pair[0]));
    assert_int_equal(budget.used, at_rest);
    assert_int_equal(budget.refused, 1);
    budget.most += 2000;
    assert_int_equal(tls_begin(pair[0], identity, &budget), 0);
    tls_identity_unref(identity);
    socket_close(pair[0]);
    close(pair[1]);
    assert_int_equal(socket_write(held.fd, "kept", 4), 4);
    couple_close(&held);
    assert_int_equal(budget.used, 0);
    budget = (struct memory_budget){.most = BUDGET_BYTES};
}

static void test_tls_cuts_who_sends_half_a_record_when_the_memory_is_full(void **state)
{
    char got[64];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    budget.most = budget.used + 4096;
    couple_send_most_of_a_record(&couple, 4000); /* less than is counted */
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(send(couple.client_fd, wire.bytes + wire.len - 1, 1, 0), 1);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), sizeof(got));
    while (socket_read(couple.fd, got, sizeof(got)) > 0)
        continue;
    couple_send_most_of_a_record(&couple, TLS_RECORD_MOST);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(budget.refused, 1);
    couple_close(&couple);
    assert_int_equal(budget.used, 0);
    budget = (struct memory_budget){.most = BUDGET_BYTES};
}

/* What is no data comes before the data, and the kernel tells nobody of the data any more. */
static void test_tls_reads_on_behind_new_keys_and_records_without_data(void **state)
{
    char got[64];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    assert_int_equal(gnutls_protocol_get_version(couple.client), GNUTLS_TLS1_3);
    assert_int_equal(gnutls_session_key_update(couple.client, GNUTLS_KU_PEER), 0);
    assert_int_equal(gnutls_record_send(couple.client, "one", 3), 3);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), 3);
    assert_int_equal(gnutls_record_send2(couple.client, "", 0, 16, 0), 0);
    assert_int_equal(gnutls_session_key_update(couple.client, 0), 0);
    assert_int_equal(gnutls_record_send2(couple.client, "", 0, 16, 0), 0);
    assert_int_equal(gnutls_record_send(couple.client, "two", 3), 3);
    assert_int_equal(socket_read(couple.fd, got + 3, sizeof(got) - 3), 3);
    assert_memory_equal(got, "onetwo", 6);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, EAGAIN);
    /* What is written from now on is under the keys that the client has asked for. */
    assert_int_equal(socket_write(couple.fd, "answer", 6), 6);
    assert_int_equal(couple_receive(&couple, got, sizeof(got)), 6);
    couple_close(&couple);
}

static void test_tls_cuts_who_sends_nothing_but_records_without_data(void **state)
{
    char got[64];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(gnutls_record_send2(couple.client, "", 0, 16, 0), 0);
    assert_int_equal(socket_read(couple.fd, got, sizeof(got)), -1);
    assert_int_equal(errno, ECONNRESET);
    couple_close(&couple);
}

static void test_tls_goes_on_under_another_descriptor(void **state)
{
    char got[8];
    struct couple couple;
    (void)state;
    couple_agree(&couple);
    int old_fd = couple.fd;
    couple.fd = fcntl(old_fd, F_DUPFD_CLOEXEC, 0);
    socket_move(old_fd, couple.fd);
    assert_false(socket_is_tls(old_fd));
    socket_close(old_fd);
    assert_int_equal(socket_write(couple.fd, "on", 2), 2);
    assert_int_equal(couple_receive(&couple, got, sizeof(got)), 2);
    couple_close(&couple);
}

static void test_tls_reads_who_a_client_is(void **state)
{
    static const struct {
        struct paper_names names;
        const char *subject;
    } cases[] = {
        {{"device 1", NULL, 0}, "device 1"},
        {{"device 1", "urn:x:1", GNUTLS_SAN_URI}, "urn:x:1"},
        {{"device 1", "a.example", GNUTLS_SAN_DNSNAME}, "a.example"},
        {{NULL, "a@b.example", GNUTLS_SAN_RFC822NAME}, "a@b.example"},
    };
    struct paper paper;
    (void)state;
    paper_make(&paper, folder, "server", &server_names, now_s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct paper shown;
        struct couple couple;
        paper_make(&shown, folder, "client", &cases[i].names, now_s);
        struct tls_identity *identity = make_identity(&paper, &shown);
        couple_open(&couple, identity, &shown);
        tls_identity_unref(identity);
        assert_int_equal(couple_shake_hands(&couple), TLS_DONE);
        const struct grant *grant = tls_grant(couple.fd);
        assert_non_null(grant);
        assert_string_equal(grant->subject, cases[i].subject);
        assert_string_equal(grant->id, "");
        assert_false(grant->is_admin || grant->is_key);
        assert_int_equal(grant->expires_ms, (now_s + PAPER_LIFE_S) * 1000);
        assert_true(grant_patterns_cover(&grant->subscribe, text_of("a/b")));
        assert_true(grant_patterns_cover(&grant->publish, text_of("c")));
        couple_close(&couple);
    }
}

static void test_tls_refuses_a_client_without_a_name(void **state)
{
    static const struct paper_names cases[] = {{0}, {.common = "a\nb"}, {.common = "a\xff"}};
    struct paper paper;
    (void)state;
    paper_make(&paper, folder, "server", &server_names, now_s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct paper shown;
        struct couple couple;
        paper_make(&shown, folder, "client", &cases[i], now_s);
        struct tls_identity *identity = make_identity(&paper, &shown);
        couple_open(&couple, identity, &shown);
        tls_identity_unref(identity);
        assert_int_equal(couple_shake_hands(&couple), TLS_FAILED);
        couple_close(&couple);
    }
}

static void test_tls_says_which_file_is_wrong(void **state)
{
    char fault[TLS_FAULT_MAX];
    struct paper paper;
    struct paper other;
    struct tls_identity *identity;
    (void)state;
    paper_make(&paper, folder, "server", &server_names, now_s);
    paper_make(&other, folder, "other", &server_names, now_s);
    const struct {
        struct tls_files files;
        const char *fault;
    } cases[] = {
        {{.cert = "/nowhere", .key = paper.key}, "tls-cert=/nowhere: No such file"},
        {{.cert = paper.cert, .key = "/nowhere"}, "tls-key=/nowhere: No such file"},
        {{.cert = paper.cert, .key = other.key}, "with tls-key="},
        {{.cert = paper.key, .key = paper.key}, "tls-cert="},
        {{.cert = paper.cert, .key = paper.key, .client_ca = paper.key}, "tls-client-ca="},
        {{.cert = paper.cert, .key = paper.key, .client_ca = "/nowhere"}, "tls-client-ca=/nowhere: No such"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tls_files files = cases[i].files;
        files.protocol = "http/1.1";
        assert_int_equal(tls_identity_new(&identity, &files, fault), -EINVAL);
        if (!strstr(fault, cases[i].fault))
            fail_msg("%s", fault);
    }
}

static int set_up(void **state)
{
    (void)state;
    now_s = time(NULL);
    return mkdtemp(folder) && tls_table_init() == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"server", "client", "other"};
    char path[64];
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s.pem", folder, files[i]);
        unlink(path);
        snprintf(path, sizeof(path), "%s/%s.key", folder, files[i]);
        unlink(path);
    }
    tls_table_deinit();
    return rmdir(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_carries_bytes_both_ways_and_says_its_end),
        cmocka_unit_test(test_tls_tells_a_cut_from_an_end),
        cmocka_unit_test(test_tls_owes_at_most_a_record_and_pays),
        cmocka_unit_test(test_tls_counts_a_session_and_what_stands_in_it),
        cmocka_unit_test(test_tls_begins_no_session_when_half_of_the_memory_is_used),
        cmocka_unit_test(test_tls_cuts_who_sends_half_a_record_when_the_memory_is_full),
        cmocka_unit_test(test_tls_reads_on_behind_new_keys_and_records_without_data),
        cmocka_unit_test(test_tls_cuts_who_sends_nothing_but_records_without_data),
        cmocka_unit_test(test_tls_goes_on_under_another_descriptor),
        cmocka_unit_test(test_tls_reads_who_a_client_is),
        cmocka_unit_test(test_tls_refuses_a_client_without_a_name),
        cmocka_unit_test(test_tls_says_which_file_is_wrong),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
