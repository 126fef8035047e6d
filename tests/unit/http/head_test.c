/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "http/head.h"
#include "base/percent.h"

static struct door_head inspect_bytes(const char *text, size_t len)
{
    static char fed[65536 + DOOR_FED_MORE];
    struct door_head head = {.fed = fed};
    head_inspect(text, len, &head);
    fed[head.fed_len] = '\0';
    return head;
}

static struct door_head inspect(const char *text)
{
    return inspect_bytes(text, strlen(text));
}

static void expect(const char *text, size_t head_len, enum error_code error)
{
    struct door_head head = inspect(text);
    if (head.error != error || head.len != head_len)
        fail_msg("'%s' gave error %d and %zu bytes", text, (int)head.error, head.len);
}

/* A request with these lines, each with its end, for a host. */
static struct door_head inspect_fields(const char *fields)
{
    char text[70000];
    snprintf(text, sizeof(text), "POST /a HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);
    return inspect(text);
}

static void test_head_is_whole_at_its_empty_line(void **state)
{
    static const char head[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    (void)state;
    for (size_t len = 0; len < sizeof(head) - 1; len++) {
        struct door_head found = inspect_bytes(head, len);
        assert_int_equal(found.len, 0);
        assert_int_equal(found.error, ERROR_NONE);
        assert_int_equal(found.has_target, len >= strlen("GET /a HTTP/1.1\r\n"));
    }
    expect("GET /a HTTP/1.1\r\nHost: x\r\n\r\nbody", sizeof(head) - 1, ERROR_NONE);
    expect("GET /a HTTP/1.0\nHost: x\n\n", 25, ERROR_NONE);
    expect("\r\nGET / HTTP/1.0\r\n\r\n", 20, ERROR_NONE);
}

static void test_head_refuses_what_is_not_http(void **state)
{
    static const char *const bad[] = {
        "SUBSCRIBE updates\r\n",
        "\x16\x03\x01",
        "GET /\r\n",
        "GET / HTTP/2.0\r\n",
        "GET  / HTTP/1.1\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "{\"a\":1}\n",
        "GET / FTP/1.1",
        "GET / HTTP/1.1\r\nno colon\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n",
        "GET / HTTP/1.1\r\nA: b\x01\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://u@x/a HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect(bad[i], 0, ERROR_BAD_REQUEST);
}

static void test_head_refuses_nul_anywhere(void **state)
{
    static const char good[] = "GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    char text[sizeof(good)];
    (void)state;
    for (size_t i = 0; i < sizeof(good) - 5; i++) {
        memcpy(text, good, sizeof(good));
        text[i] = '\0';
        assert_int_not_equal(inspect_bytes(text, sizeof(good) - 1).error, ERROR_NONE);
    }
    static const char other[] = "GET /a HTTP/1.1\r\nHost: x\r\nX-Thing: a\0b\r\n\r\n";
    assert_int_equal(inspect_bytes(other, sizeof(other) - 1).error, ERROR_BAD_REQUEST);
}

static void test_head_finds_where_the_request_ends(void **state)
{
    static const char *const bad[] = {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                                      "Content-Length: 3\r\nContent-Length: 3\r\n",
                                      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                      "Transfer-Encoding: gzip, chunked\r\n",
                                      "Transfer-Encoding: identity\r\n",
                                      "Transfer-Encoding:\r\n",
                                      "Content-Length: 3x\r\n",
                                      "Content-Length: -3\r\n",
                                      "Content-Length: +3\r\n",
                                      "Content-Length:\r\n",
                                      "Content-Length: 99999999999999999999\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(inspect_fields(bad[i]).error, ERROR_BAD_REQUEST);
    assert_int_equal(inspect_fields("content-length: \t42 \t\r\n").framing.body_len, 42);
    assert_int_equal(inspect_fields("Content-Length: 9223372036854775807\r\n").error, ERROR_NONE);
    assert_true(inspect_fields("Transfer-Encoding: Chunked\r\n").framing.is_chunked);
    assert_true(inspect_fields("Expect: 100-Continue\r\n").framing.expects_continue);
    expect("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, ERROR_BAD_REQUEST);
}

static void test_head_knows_whether_the_connection_is_kept(void **state)
{
    (void)state;
    assert_true(inspect_fields("").framing.is_kept);
    assert_true(inspect_fields("Connection: upgrade, keep-alive\r\n").framing.is_kept);
    assert_false(inspect_fields("Connection: Close\r\n").framing.is_kept);
    assert_false(inspect_fields("Connection: keep-alive , close\r\n").framing.is_kept);
    assert_true(inspect_fields("Connection: closed\r\n").framing.is_kept);
    assert_false(inspect("GET / HTTP/1.0\r\n\r\n").framing.is_kept);
    assert_true(inspect("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").framing.is_kept);
}

static void expect_fed(const char *text, const char *fed)
{
    struct door_head head = inspect(text);
    assert_int_equal(head.error, ERROR_NONE);
    assert_string_equal(head.fed, fed);
}

static void test_head_passes_on_what_is_asked_for(void **state)
{
    (void)state;
    expect_fed("POST /a HTTP/1.1\r\nhost: x\r\nCookie: c\r\nAccept:  a/b \r\nContent-Length: 3\r\n\r\n",
               "POST /a HTTP/1.1\r\nhost: x\r\nAccept:  a/b \r\n\r\n");
    expect_fed("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
               "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect_fed("GET / HTTP/1.0\nConnection: Keep-Alive\n\n",
               "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect_fed("GET / HTTP/1.0\nA: b\nOrigin: o\n\n",
               "GET / HTTP/1.0\r\nOrigin: o\r\nConnection: close\r\n\r\n");
}

static void test_head_passes_on_one_cookie(void **state)
{
    (void)state;
    expect_fed("GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; JSESSIONID=1.2; c=d\r\n\r\n",
               "GET / HTTP/1.1\r\nHost: x\r\nCookie:JSESSIONID=1.2\r\n\r\n");
    expect_fed("GET / HTTP/1.1\r\nHost: x\r\nCookie: XJSESSIONID=1; a=JSESSIONID=2\r\n\r\n",
               "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void test_head_passes_on_the_cookie_with_a_token_by_itself(void **state)
{
    (void)state;
    expect_fed("GET / HTTP/1.1\r\nHost: x\r\nCookie: JSESSIONID=1; sluice_token=a.b.c; c=d\r\n\r\n",
               "GET / HTTP/1.1\r\nHost: x\r\nCookie:JSESSIONID=1\r\nSluice-Token-Cookie:a.b.c\r\n\r\n");
    expect_fed("GET / HTTP/1.1\r\nHost: x\r\nCookie: sluice_token=1\r\nCookie: sluice_token=2\r\n\r\n",
               "GET / HTTP/1.1\r\nHost: x\r\nSluice-Token-Cookie:1\r\n\r\n");
    expect_fed("GET / HTTP/1.1\r\nHost: x\r\nSluice-Token-Cookie: forged\r\nCookie: sluice_token=\r\n\r\n",
               "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void test_head_takes_targets_in_absolute_form(void **state)
{
    (void)state;
    expect_fed("GET http://h:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n");
    expect_fed("GET HTTPS://h HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_fed("GET http://[::1]?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?b HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    expect_fed("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void test_head_bounds_arguments_and_fields(void **state)
{
    char text[8192];
    char arguments[600];
    (void)state;
    memset(arguments, '&', sizeof(arguments));
    snprintf(text, sizeof(text), "GET /a?%.255s HTTP/1.1\r\nHost: x\r\n\r\n", arguments);
    assert_int_equal(inspect(text).error, ERROR_NONE);
    snprintf(text, sizeof(text), "GET /a?%.256s HTTP/1.1\r\nHost: x\r\n\r\n", arguments);
    assert_int_equal(inspect(text).error, ERROR_TOO_MANY_ARGUMENTS);
    text[0] = '\0';
    for (unsigned i = 0; i < 255; i++)
        strcat(text, "Accept: a\r\n");
    assert_int_equal(inspect_fields(text).error, ERROR_NONE);
    strcat(text, "A: a\r\n");
    assert_int_equal(inspect_fields(text).error, ERROR_HEAD_TOO_LARGE);
}

/* A bare line feed becomes two bytes, an absolute target two lines. */
static void test_head_passes_on_no_more_than_there_is_room_for(void **state)
{
    char text[8192] = "GET http://h HTTP/1.1\n";
    (void)state;
    for (unsigned i = 0; i < 255; i++)
        strcat(text, "Accept:\n");
    strcat(text, "Host:\n\n");
    struct door_head head = inspect(text);
    assert_int_equal(head.error, ERROR_NONE);
    assert_in_range(head.fed_len, head.len, head.len + DOOR_FED_MORE);
}

static size_t pool_of(const char *text)
{
    struct door_head head = inspect(text);
    assert_true(head.len > 0);
    return head.pool_bytes;
}

static void test_head_chooses_the_memory_of_its_connection(void **state)
{
    char text[16384];
    char large[12000];
    (void)state;
    memset(large, 'c', sizeof(large));
    assert_true(pool_of("GET /channels/a HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n") < 2048);
    assert_in_range(pool_of("GET /channels/a HTTP/1.0\r\n\r\n"), 2048, 3072);
    assert_in_range(pool_of("POST /channels/a HTTP/1.0\r\n\r\n"), 2048, 3072);
    snprintf(text, sizeof(text), "GET / HTTP/1.0\r\nCookie: %.12000s\r\n\r\n", large);
    assert_in_range(pool_of(text), 2048, 3072);
    snprintf(text, sizeof(text), "GET / HTTP/1.0\r\nPrefer: %.12000s\r\n\r\n", large);
    assert_in_range(pool_of(text), 30000, 32000);
}

static void test_percent_is_strict(void **state)
{
    char to[32];
    size_t len;
    (void)state;
    assert_int_equal(percent_decode(to, &len, "/a%2Fb%7e", 9), 0);
    assert_string_equal(to, "/a/b~");
    assert_int_not_equal(percent_decode(to, &len, "/%", 2), 0);
    assert_int_not_equal(percent_decode(to, &len, "/%2", 3), 0);
    assert_int_not_equal(percent_decode(to, &len, "/%zz", 4), 0);
    assert_int_not_equal(percent_decode(to, &len, "/a%00", 5), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_head_is_whole_at_its_empty_line),
    cmocka_unit_test(test_head_refuses_what_is_not_http),
    cmocka_unit_test(test_head_refuses_nul_anywhere),
    cmocka_unit_test(test_head_finds_where_the_request_ends),
    cmocka_unit_test(test_head_knows_whether_the_connection_is_kept),
    cmocka_unit_test(test_head_passes_on_what_is_asked_for),
    cmocka_unit_test(test_head_passes_on_one_cookie),
    cmocka_unit_test(test_head_passes_on_the_cookie_with_a_token_by_itself),
    cmocka_unit_test(test_head_takes_targets_in_absolute_form),
    cmocka_unit_test(test_head_bounds_arguments_and_fields),
    cmocka_unit_test(test_head_passes_on_no_more_than_there_is_room_for),
    cmocka_unit_test(test_head_chooses_the_memory_of_its_connection),
    cmocka_unit_test(test_percent_is_strict),
};
UNIT_MAIN(tests)
