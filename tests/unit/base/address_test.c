/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/address.h"

static void expect_format(const char *text, const char *expected)
{
    struct address address;
    char formatted[ADDRESS_TEXT_MAX];
    const char *why = "";
    if (address_parse(&address, text, &why))
        fail_msg("%s: %s", text, why);
    address_format(&address, formatted);
    assert_string_equal(formatted, expected);
}

static void expect_fault(const char *text, const char *expected)
{
    struct address address;
    const char *why = "nothing";
    assert_int_not_equal(address_parse(&address, text, &why), 0);
    if (!strstr(why, expected))
        fail_msg("%s: '%s' does not say '%s'", text, why, expected);
}

static bool is_loopback(const char *text)
{
    struct address address;
    const char *why;
    assert_int_equal(address_parse(&address, text, &why), 0);
    return address_is_loopback(&address);
}

static void test_addresses_are_shown_as_they_are_written(void **state)
{
    (void)state;
    expect_format("127.0.0.1:8080", "127.0.0.1:8080");
    expect_format("0.0.0.0:0", "0.0.0.0:0");
    expect_format("[::1]:65535", "[::1]:65535");
    expect_format("[2001:DB8:0:0::1]:80", "[2001:db8::1]:80");
    expect_format(":8080", "[::]:8080");
    expect_format("[::ffff:10.1.2.3]:80", "10.1.2.3:80");
}

static void test_names_are_looked_up(void **state)
{
    struct address address;
    const char *why;
    (void)state;
    assert_int_equal(address_parse(&address, "localhost:80", &why), 0);
    assert_true(address_is_loopback(&address));
}

static void test_no_more_addresses_are_written_than_there_is_room_for(void **state)
{
    struct address addresses[2] = {0};
    const char *why;
    size_t count = 1;
    (void)state;
    assert_int_equal(address_look_up(addresses, &count, "localhost:80", &why), 0);
    assert_int_equal(count, 1);
    assert_true(address_is_loopback(&addresses[0]));
    assert_int_equal(addresses[1].len, 0);
}

static void test_names_are_told_from_numbers_without_a_lookup(void **state)
{
    struct address address;
    const char *why;
    (void)state;
    assert_int_equal(address_parse_number(&address, "localhost:80", &why), -ENOENT);
    assert_int_equal(address_parse_number(&address, "127.0.0.1:80", &why), 0);
    assert_int_equal(address_parse_number(&address, "[::1]:80", &why), 0);
    assert_int_equal(address_parse_number(&address, "[12::g]:80", &why), -EINVAL);
    assert_int_equal(address_parse_number(&address, "localhost:http", &why), -EINVAL);
}

static void test_wrong_addresses_are_explained(void **state)
{
    char long_host[400];
    (void)state;
    expect_fault("", "host:port");
    expect_fault("8080", "host:port");
    expect_fault("127.0.0.1", "host:port");
    expect_fault("[::1]", "host:port");
    expect_fault("[::1", "host:port");
    expect_fault("[::1]8080", "host:port");
    expect_fault("[::1]:80:80", "host:port");
    expect_fault("::1:8080", "brackets, as [::1]:8080");
    expect_fault("[]:80", "brackets are for IPv6");
    expect_fault("[127.0.0.1]:80", "brackets are for IPv6");
    expect_fault("[12::g]:80", "not an IPv6 address");
    expect_fault("127.0.0.1:", "0 to 65535");
    expect_fault("127.0.0.1:65536", "0 to 65535");
    expect_fault("127.0.0.1:-1", "0 to 65535");
    expect_fault("127.0.0.1:+80", "0 to 65535");
    expect_fault("127.0.0.1:80 ", "0 to 65535");
    expect_fault("127.0.0.1:99999999999999999999999", "0 to 65535");
    expect_fault("127.0.0.1 :80", "no spaces");
    expect_fault(" 127.0.0.1:80", "no spaces");
    expect_fault("gr\xc3\xbcn:80", "ASCII");
    memset(long_host, 'a', sizeof(long_host));
    strcpy(long_host + sizeof(long_host) - 4, ":80");
    expect_fault(long_host, "host:port");
}

static void test_only_loopback_is_loopback(void **state)
{
    (void)state;
    assert_true(is_loopback("127.0.0.1:0"));
    assert_true(is_loopback("127.255.0.9:0"));
    assert_true(is_loopback("[::1]:0"));
    assert_true(is_loopback("[::ffff:127.0.0.1]:0"));
    assert_false(is_loopback("128.0.0.1:0"));
    assert_false(is_loopback("0.0.0.0:0"));
    assert_false(is_loopback(":0"));
    assert_false(is_loopback("[::2]:0"));
    assert_false(is_loopback("[::ffff:10.0.0.1]:0"));
}

static void expect_same_client(const char *a, const char *b, bool is_same)
{
    struct address addresses[2];
    unsigned char keys[2][8] = {{0}};
    const char *why;
    assert_int_equal(address_parse(&addresses[0], a, &why), 0);
    assert_int_equal(address_parse(&addresses[1], b, &why), 0);
    size_t len = address_client_key(&addresses[0], keys[0]);
    assert_int_equal(len == address_client_key(&addresses[1], keys[1]) && memcmp(keys[0], keys[1], 8) == 0,
                     is_same);
}

static void test_a_client_is_an_ipv4_address_or_an_ipv6_network(void **state)
{
    (void)state;
    expect_same_client("10.0.0.1:1", "10.0.0.1:2", true);
    expect_same_client("10.0.0.1:1", "10.0.0.2:1", false);
    expect_same_client("10.0.0.1:1", "[::ffff:10.0.0.1]:1", true);
    expect_same_client("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", true);
    expect_same_client("[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_addresses_are_shown_as_they_are_written),
    cmocka_unit_test(test_names_are_looked_up),
    cmocka_unit_test(test_no_more_addresses_are_written_than_there_is_room_for),
    cmocka_unit_test(test_names_are_told_from_numbers_without_a_lookup),
    cmocka_unit_test(test_wrong_addresses_are_explained),
    cmocka_unit_test(test_only_loopback_is_loopback),
    cmocka_unit_test(test_a_client_is_an_ipv4_address_or_an_ipv6_network),
};
UNIT_MAIN(tests)
