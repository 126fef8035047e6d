/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>
#include <sys/un.h>

#include "shard/entrance.h"

static void test_entrance_reads_an_address(void **state)
{
    char fault[PAIRS_FAULT_MAX];
    const char *why;
    struct entrance entrance;
    struct address address;
    (void)state;
    assert_int_equal(entrance_parse(&entrance, "127.0.0.1:80", fault), 0);
    assert_string_equal(entrance.address, "127.0.0.1:80");
    assert_null(entrance.path);
    assert_false(entrance.is_admin);
    assert_int_equal(entrance_look_up(&entrance, &address, &why), 0);
    assert_int_equal(address.storage.ss_family, AF_INET);
    entrance_deinit(&entrance);
}

static void test_entrance_reads_a_unix_address_and_its_mode(void **state)
{
    char fault[PAIRS_FAULT_MAX];
    const char *why;
    struct entrance entrance;
    struct address address;
    (void)state;
    assert_int_equal(entrance_parse(&entrance, "unix:/run/a mode=0600", fault), 0);
    assert_string_equal(entrance.path, "/run/a");
    assert_int_equal(entrance.mode, 0600);
    assert_int_equal(entrance_look_up(&entrance, &address, &why), 0);
    assert_string_equal(((const struct sockaddr_un *)&address.storage)->sun_path, "/run/a");
    entrance_deinit(&entrance);
    assert_int_equal(entrance_parse(&entrance, "unix:/run/a", fault), 0);
    assert_int_equal(entrance.mode, ENTRANCE_MODE_PRESET);
    entrance_deinit(&entrance);
}

static void test_entrance_reads_what_tls_is_made_of(void **state)
{
    char fault[PAIRS_FAULT_MAX];
    struct entrance entrance;
    (void)state;
    assert_int_equal(entrance_parse(&entrance, ":443", fault), 0);
    assert_null(entrance.tls.cert);
    entrance_deinit(&entrance);
    assert_int_equal(entrance_parse(&entrance, ":443 tls-cert=/c tls-key=/k", fault), 0);
    assert_string_equal(entrance.tls.cert, "/c");
    assert_string_equal(entrance.tls.key, "/k");
    assert_int_equal(entrance.tls.clients, TLS_CLIENTS_NONE);
    entrance_deinit(&entrance);
    assert_int_equal(entrance_parse(&entrance, ":443 tls-cert=/c tls-key=/k tls-client-ca=/a", fault), 0);
    assert_int_equal(entrance.tls.clients, TLS_CLIENTS_REQUIRED);
    entrance_deinit(&entrance);
    assert_int_equal(
        entrance_parse(&entrance, ":1 tls-client=optional tls-client-ca=/a tls-cert=/c tls-key=/k", fault),
        0);
    assert_string_equal(entrance.tls.client_ca, "/a");
    assert_int_equal(entrance.tls.clients, TLS_CLIENTS_OPTIONAL);
    entrance_deinit(&entrance);
}

static void test_entrance_says_what_is_wrong(void **state)
{
    static const struct {
        const char *text;
        const char *fault;
    } cases[] = {
        {"", "an address is missing"},
        {"unix:run/a", "unix:/path"},
        {"127.0.0.1:80 mode=0600", "mode is for unix:/path only"},
        {"unix:/a mode=888", "octal"},
        {"unix:/a mode=", "octal"},
        {"unix:/a mode=0600 mode=0600", "twice"},
        {":80 framing=crlf", "after the address come proxy-protocol=, mode=, tls-cert="},
        {":80 tls-cert=", "tls-cert is the path of a file"},
        {":80 tls-cert=/c", "both tls-cert and tls-key"},
        {":80 tls-key=/k", "both tls-cert and tls-key"},
        {":80 tls-client-ca=/a", "both tls-cert and tls-key"},
        {":80 tls-cert=/c tls-key=/k tls-client=maybe", "optional or required"},
        {":80 tls-cert=/c tls-key=/k tls-client=optional", "wants tls-client-ca"},
        {"unix:/a tls-cert=/c tls-key=/k", "TLS is not for unix:/path"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char fault[PAIRS_FAULT_MAX];
        struct entrance entrance;
        assert_int_not_equal(entrance_parse(&entrance, cases[i].text, fault), 0);
        if (!strstr(fault, cases[i].fault))
            fail_msg("'%s': '%s'", cases[i].text, fault);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_entrance_reads_an_address),
    cmocka_unit_test(test_entrance_reads_a_unix_address_and_its_mode),
    cmocka_unit_test(test_entrance_reads_what_tls_is_made_of),
    cmocka_unit_test(test_entrance_says_what_is_wrong),
};

UNIT_MAIN(tests)
