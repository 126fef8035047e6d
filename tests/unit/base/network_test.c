/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/container.h"
#include "base/network.h"

static bool contains(const char *network, const char *text)
{
    struct network parsed;
    struct address address;
    const char *why;
    if (network_parse(&parsed, network, &why))
        fail_msg("'%s': %s", network, why);
    if (network_read_address(&address, text_of(text)))
        fail_msg("'%s' is not read", text);
    return network_contains(&parsed, &address);
}

static void test_network_contains_what_begins_with_the_same_bits(void **state)
{
    static const char *const inside[][2] = {
        {"10.0.0.0/8", "10.255.0.1"},
        {"10.0.0.1", "10.0.0.1"},
        {"10.0.0.0/9", "10.127.255.255"},
        {"0.0.0.0/0", "255.255.255.255"},
        {"fd00::/8", "fdff::1"},
        {"2001:db8::1", "2001:db8::1"},
        {"::/0", "10.0.0.1"},
        {"10.0.0.0/8", "::ffff:10.0.0.1"},
        {"::ffff:10.0.0.0/104", "10.1.1.1"},
    };
    static const char *const outside[][2] = {
        {"10.0.0.0/8", "11.0.0.1"},   {"10.0.0.1", "10.0.0.2"}, {"10.0.0.0/9", "10.128.0.0"},
        {"0.0.0.0/0", "2001:db8::1"}, {"fd00::/8", "fe00::1"},  {"2001:db8::1/128", "2001:db8::2"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(inside); i++)
        if (!contains(inside[i][0], inside[i][1]))
            fail_msg("%s is not in %s", inside[i][1], inside[i][0]);
    for (size_t i = 0; i < ARRAY_LENGTH(outside); i++)
        if (contains(outside[i][0], outside[i][1]))
            fail_msg("%s is in %s", outside[i][1], outside[i][0]);
}

static void test_network_refuses_the_rest(void **state)
{
    static const char *const bad[] = {"",         "10.0.0.0/33", "10.0.0.0/",  "10.0.0.0/x",
                                      "10.0.0/8", "host",        "10.0.0.1/8", "fd00::1/8",
                                      "::/129",   "[::1]",       "10.0.0.1 ",  "010.0.0.1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct network network;
        const char *why = "";
        if (network_parse(&network, bad[i], &why) == 0 || !why[0])
            fail_msg("'%s' is taken", bad[i]);
    }
}

static void test_network_reads_addresses_as_proxies_write_them(void **state)
{
    static const char *const good[][2] = {
        {"192.0.2.1", "192.0.2.1:0"},
        {"192.0.2.1:80", "192.0.2.1:80"},
        {"2001:db8::1", "[2001:db8::1]:0"},
        {"[2001:db8::1]", "[2001:db8::1]:0"},
        {"[2001:db8::1]:443", "[2001:db8::1]:443"},
        {"::ffff:192.0.2.1", "192.0.2.1:0"},
    };
    static const char *const bad[] = {
        "",
        "unknown",
        "_hidden",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:x",
        "[192.0.2.1]",
        "[::1",
        "[::1]x",
        "[::1]:",
        "::1]",
        "192.0.2",
        "192.0.2.1.example",
        "192.0.2.1 ",
        "[]",
        ":",
        ":80",
        "[::1%lo]",
        "0x7f.0.0.1",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        char text[ADDRESS_TEXT_MAX];
        struct address address;
        assert_int_equal(network_read_address(&address, text_of(good[i][0])), 0);
        address_format(&address, text);
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct address address;
        if (network_read_address(&address, text_of(bad[i])) == 0)
            fail_msg("'%s' is read", bad[i]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_network_contains_what_begins_with_the_same_bits),
    cmocka_unit_test(test_network_refuses_the_rest),
    cmocka_unit_test(test_network_reads_addresses_as_proxies_write_them),
};

UNIT_MAIN(tests)
