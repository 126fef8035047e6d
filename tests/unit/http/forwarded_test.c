/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "base/network.h"
#include "http/forwarded.h"

#define PROXY "10.0.0.1"

static char *trusted[] = {"10.0.0.0/8", "fd00::/8"};

static void expect(unsigned header, const char *fields, const char *expected)
{
    char head[1024];
    char text[ADDRESS_TEXT_MAX];
    struct address address;
    const struct options options = {.trusted_proxies = {trusted, ARRAY_LENGTH(trusted)},
                                    .forwarded_header = header};
    snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", fields);
    assert_int_equal(network_read_address(&address, text_of(PROXY)), 0);
    forwarded_find_asker(&options, head, strlen(head), &address);
    address_format(&address, text);
    text[strlen(text) - 2] = '\0'; /* without the port, which is 0 */
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s, not %s", fields, text, expected);
}

static void test_forwarded_finds_the_last_that_is_no_proxy(void **state)
{
    static const char *const cases[][2] = {
        {"Accept: a", PROXY},
        {"X-Forwarded-For: 192.0.2.1", "192.0.2.1"},
        {"x-forwarded-for:192.0.2.1", "192.0.2.1"},
        {"X-Forwarded-For: 198.51.100.9, 192.0.2.1", "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1, 10.0.0.2", "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1 ,10.0.0.2,\t10.0.0.3", "192.0.2.1"},
        {"X-Forwarded-For: 2001:db8::1", "[2001:db8::1]"},
        {"X-Forwarded-For: 10.0.0.3, 10.0.0.2", "10.0.0.3"},
        /* A proxy that adds a line of its own, behind the client's. */
        {"X-Forwarded-For: 198.51.100.9\r\nAccept: a\r\nX-Forwarded-For: 192.0.2.1", "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.2", "192.0.2.1"},
        /* What is no address hides what stands before it. */
        {"X-Forwarded-For: unknown", PROXY},
        {"X-Forwarded-For: 198.51.100.9, unknown, 10.0.0.2", "10.0.0.2"},
        {"X-Forwarded-For: 198.51.100.9, ", "198.51.100.9"},
        {"X-Forwarded-For: 198.51.100.9,,", PROXY},
        {"X-Forwarded-For: \"192.0.2.1\"", PROXY},
        {"X-Forwarded-For: \"198.51.100.9, 192.0.2.1", "192.0.2.1"},
        /* The other header is the client's. */
        {"Forwarded: for=198.51.100.9", PROXY},
        {"Forwarded: for=198.51.100.9\r\nX-Forwarded-For: 192.0.2.1", "192.0.2.1"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        expect(0, cases[i][0], cases[i][1]);
}

static void test_forwarded_reads_rfc_7239(void **state)
{
    static const char *const cases[][2] = {
        {"Forwarded: for=192.0.2.1", "192.0.2.1"},
        {"Forwarded: For=\"192.0.2.1\"", "192.0.2.1"},
        {"Forwarded: proto=https; for=192.0.2.1 ;by=10.0.0.9", "192.0.2.1"},
        {"Forwarded: for=\"[2001:db8::1]\"", "[2001:db8::1]"},
        {"Forwarded: for=198.51.100.9, for=192.0.2.1;host=\"a,b;c\"", "192.0.2.1"},
        {"Forwarded: for=192.0.2.1, for=10.0.0.2", "192.0.2.1"},
        {"Forwarded: for=192.0.2.1\r\nForwarded: for=10.0.0.2", "192.0.2.1"},
        {"Forwarded: for=192.0.2.1, for=\"[fd00::2]\"", "192.0.2.1"},
        {"Forwarded: for=unknown", PROXY},
        {"Forwarded: for=198.51.100.9, for=_hidden", PROXY},
        {"Forwarded: for=198.51.100.9, proto=https", PROXY},
        {"Forwarded: for=\"198.51.100.9, for=192.0.2.1", PROXY},
        {"Forwarded: for=\"198.51.100.9\\\", for=192.0.2.1", PROXY},
        {"Forwarded: for=198.51.100.9;x=\"\\", PROXY},
        {"Forwarded: for=198.51.100.9;x=\", for=192.0.2.1", PROXY},
        {"Forwarded: for=\"1\\92.0.2.1\"", PROXY},
        {"Forwarded:", PROXY},
        {"X-Forwarded-For: 198.51.100.9", PROXY},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        expect(1, cases[i][0], cases[i][1]);
}

static void test_forwarded_looks_at_so_many_hops_only(void **state)
{
    char fields[1024] = "X-Forwarded-For: 192.0.2.1";
    (void)state;
    for (unsigned i = 0; i < 31; i++)
        strcat(fields, ", 10.0.0.2");
    expect(0, fields, "192.0.2.1");
    strcat(fields, ", 10.0.0.2");
    expect(0, fields, "10.0.0.2");
}

static void test_forwarded_tells_the_parameters_of_the_last_element(void **state)
{
    const struct text field = text_of("for=a;proto=http, for=b;Proto=\"https\";host=\"a:1\"");
    (void)state;
    assert_true(text_is(forwarded_parameter(field, "proto"), "https"));
    assert_true(text_is(forwarded_parameter(field, "host"), "a:1"));
    assert_null(forwarded_parameter(field, "by").bytes);
    assert_null(forwarded_parameter(text_of(""), "by").bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_forwarded_finds_the_last_that_is_no_proxy),
    cmocka_unit_test(test_forwarded_reads_rfc_7239),
    cmocka_unit_test(test_forwarded_looks_at_so_many_hops_only),
    cmocka_unit_test(test_forwarded_tells_the_parameters_of_the_last_element),
};

UNIT_MAIN(tests)
