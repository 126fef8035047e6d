/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "http/head.h"
#include "base/percent.h"

static void expect(const char *text, size_t head_len, enum error_code error)
{
    enum error_code found = ERROR_NONE;
    size_t pool = 0;
    assert_int_equal(head_inspect(text, strlen(text), &pool, &found), head_len);
    if (found != error)
        fail_msg("'%s' gave error %d", text, (int)found);
}

static void test_head_is_whole_at_its_empty_line(void **state)
{
    static const char head[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    (void)state;
    for (size_t len = 0; len < sizeof(head) - 1; len++) {
        enum error_code error = ERROR_NONE;
        size_t pool;
        assert_int_equal(head_inspect(head, len, &pool, &error), 0);
        assert_int_equal(error, ERROR_NONE);
    }
    expect("GET /a HTTP/1.1\r\nHost: x\r\n\r\nbody", sizeof(head) - 1, ERROR_NONE);
    expect("GET /a HTTP/1.0\nHost: x\n\n", 25, ERROR_NONE);
    expect("\r\nGET / HTTP/1.1\r\n\r\n", 20, ERROR_NONE);
}

static void test_head_refuses_what_is_not_http(void **state)
{
    static const char *const bad[] = {
        "SUBSCRIBE updates\r\n", "\x16\x03\x01",        "GET /\r\n",
        "GET / HTTP/2.0\r\n",    "GET  / HTTP/1.1\r\n", "*1\r\n$4\r\nPING\r\n",
        "{\"a\":1}\n",           "GET / FTP/1.1",       "GET / HTTP/1.1\r\nno colon\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect(bad[i], 0, ERROR_BAD_REQUEST);
}

static size_t pool_of(const char *text)
{
    enum error_code error = ERROR_NONE;
    size_t pool = 0;
    assert_true(head_inspect(text, strlen(text), &pool, &error) > 0);
    return pool;
}

static void test_head_chooses_the_memory_of_its_connection(void **state)
{
    (void)state;
    assert_true(pool_of("GET /channels/a HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n") < 2048);
    assert_in_range(pool_of("GET /channels/a HTTP/1.1\r\n\r\n"), 2048, 3072);
    assert_int_equal(pool_of("GET / HTTP/1.1\r\n\r\n"), 32768);
    assert_int_equal(pool_of("GET /channels/a HTTP/1.1\r\nVia: 1.1 proxy\r\n\r\n"), 32768);
    assert_int_equal(pool_of("POST /channels/a HTTP/1.1\r\n\r\n"), 65536);
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
    cmocka_unit_test(test_head_chooses_the_memory_of_its_connection),
    cmocka_unit_test(test_percent_is_strict),
};
UNIT_MAIN(tests)
