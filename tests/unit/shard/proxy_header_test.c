/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "shard/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

struct proxy_case {
    struct {
        const char *bytes;
        size_t len;
    } header;
    const char *address; /* NULL: the connection's own */
};

/* Each with something behind it, and each of its beginnings is not enough. */
static void expect_whole(const struct proxy_case *expected)
{
    char bytes[PROXY_HEADER_MAX + 16] = "";
    char text[ADDRESS_TEXT_MAX];
    struct proxy_header header;
    size_t len = expected->header.len;
    memcpy(bytes, expected->header.bytes, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(proxy_header_parse(&header, bytes, i), -EAGAIN);
    memcpy(bytes + len, "GET /", 5);
    assert_int_equal(proxy_header_parse(&header, bytes, len + 5), 0);
    assert_int_equal(header.len, len);
    assert_int_equal(header.has_address, expected->address != NULL);
    if (!expected->address)
        return;
    address_format(&header.address, text);
    assert_string_equal(text, expected->address);
}

static void test_proxy_header_reads_lines(void **state)
{
    static const struct proxy_case cases[] = {
        {TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"), "192.0.2.1:56324"},
        {TEXT("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535"},
        {TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 0 0\r\n"), "192.0.2.1:0"},
        {TEXT("PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n"), "[2001:db8::1]:1"},
        {TEXT("PROXY UNKNOWN\r\n"), NULL},
        {TEXT("PROXY UNKNOWN \r\n"), NULL},
        {TEXT("PROXY UNKNOWN 192.0.2.1 anything at all\r\n"), NULL},
        {TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "65535 "
              "65535\r\n"),
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        expect_whole(&cases[i]);
}

static void test_proxy_header_reads_blocks(void **state)
{
    static const struct proxy_case cases[] = {
        {TEXT(SIGNATURE "\x21\x11\0\x0c"
                        "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
         "192.0.2.1:56324"},
        /* With what is told besides, which is skipped. */
        {TEXT(SIGNATURE "\x21\x11\0\x13"
                        "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\0\x04"
                        "ABCD"),
         "192.0.2.1:56324"},
        {TEXT(SIGNATURE "\x21\x21\0\x24"
                        "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                        "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
                        "\0\x01\0\x02"),
         "[2001:db8::1]:1"},
        /* LOCAL, with and without a block. */
        {TEXT(SIGNATURE "\x20\0\0\0"), NULL},
        {TEXT(SIGNATURE "\x20\x11\0\x0c"
                        "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
         NULL},
        /* UNSPEC, UDP. */
        {TEXT(SIGNATURE "\x21\0\0\x03"
                        "abc"),
         NULL},
        {TEXT(SIGNATURE "\x21\x12\0\x0c"
                        "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        expect_whole(&cases[i]);
}

static void test_proxy_header_skips_the_address_of_a_unix_socket(void **state)
{
    char bytes[16 + 216] = SIGNATURE "\x21\x31\0\xd8";
    const struct proxy_case unix_socket = {{bytes, sizeof(bytes)}, NULL};
    (void)state;
    expect_whole(&unix_socket);
}

static void test_proxy_header_refuses_the_rest(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        TEXT("GET / HTTP/1.1\r\n"),
        TEXT("PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT(" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
        TEXT("PROXY TCP4 192.0.2.1\r\n"),
        TEXT("PROXY TCP4\r\n"),
        TEXT("PROXY \r\n"),
        TEXT("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"),
        TEXT("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"),
        TEXT("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        TEXT("PROXY TCP4 host 192.0.2.2 1 2\r\n"),
        TEXT("PROXY UNKNOWNX\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nGET / HTTP/1.1\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rGET / HTTP/1.1\r\n"),
        TEXT(SIGNATURE "\x11\x11\0\x0c"
                       "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
        TEXT(SIGNATURE "\x31\x11\0\x0c"
                       "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
        TEXT(SIGNATURE "\x22\x11\0\x0c"
                       "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
        TEXT(SIGNATURE "\x21\x41\0\0"),
        TEXT(SIGNATURE "\x21\x13\0\0"),
        TEXT(SIGNATURE "\x20\x11\xff\xff"),
        TEXT(SIGNATURE "\x21\x11\0\x0b"
                       "abcdefghijk"),
        TEXT(SIGNATURE "\x21\x21\0\x23"
                       "abcdefghijkabcdefghijkabcdefghijkab"),
        TEXT("\r\n\r\n\0\r\nQUIT\r"),
        TEXT("\r\n\r\nX"),
    };
    char line[108];
    struct proxy_header header;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        if (proxy_header_parse(&header, cases[i].bytes, cases[i].len) != -EINVAL)
            fail_msg("%zu: %s", i, cases[i].bytes);
    snprintf(line, sizeof(line), "PROXY UNKNOWN %093d", 0);
    assert_int_equal(proxy_header_parse(&header, line, 106), -EAGAIN);
    assert_int_equal(proxy_header_parse(&header, line, 107), -EINVAL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_proxy_header_reads_lines),
    cmocka_unit_test(test_proxy_header_reads_blocks),
    cmocka_unit_test(test_proxy_header_skips_the_address_of_a_unix_socket),
    cmocka_unit_test(test_proxy_header_refuses_the_rest),
};

UNIT_MAIN(tests)
