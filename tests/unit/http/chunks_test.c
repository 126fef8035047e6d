/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "http/chunks.h"

/* Feeds the text in pieces of `step` bytes. Returns how many were taken, or a negative errno. */
static ssize_t feed(const char *text, size_t len, size_t step, char *body)
{
    struct chunks chunks = {0};
    size_t at = 0;
    body[0] = '\0';
    while (at < len && !chunks_are_done(&chunks)) {
        const char *data;
        size_t data_len;
        ssize_t taken = chunks_read(&chunks, text + at, len - at < step ? len - at : step, &data, &data_len);
        if (taken < 0)
            return taken;
        strncat(body, data, data_len);
        at += (size_t)taken;
    }
    return chunks_are_done(&chunks) ? (ssize_t)at : 0;
}

static void test_chunks_are_joined_however_they_are_cut(void **state)
{
    static const char text[] =
        "3\r\nabc\r\nA;x=\"y\";z\r\n0123456789\r\n1 \t\r\n!\r\n0\r\nTrailer: t\r\n\r\nGET /";
    (void)state;
    for (size_t step = 1; step < sizeof(text); step++) {
        char body[64];
        assert_int_equal(feed(text, sizeof(text) - 1, step, body), sizeof(text) - 1 - strlen("GET /"));
        assert_string_equal(body, "abc0123456789!");
    }
}

static void test_chunks_refuse_what_others_may_read_differently(void **state)
{
    static const char *const bad[] = {"\r\n",
                                      "g\r\n",
                                      "-1\r\n",
                                      "+1\r\n",
                                      "0x1\r\n",
                                      "1\n",
                                      "1\r\nab",
                                      "1\r\na\n",
                                      "1\r\na\r\r",
                                      "1\rx",
                                      " 1\r\n",
                                      "1;a\x01\r\n",
                                      "0\r\nT\n: 1\r\n",
                                      "0\r\nT\r\r\n",
                                      "0\r\n\r\r",
                                      "1000000000000000\r\n",
                                      "1;\x7f\r\n"};
    char body[64];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (feed(bad[i], strlen(bad[i]), 1, body) != -22)
            fail_msg("'%s' was taken", bad[i]);
}

static void test_chunks_bound_what_they_skip(void **state)
{
    char text[9000] = "1;";
    char body[64];
    (void)state;
    memset(text + 2, 'e', 8192);
    memcpy(text + 2 + 8191, "\r\na\r\n0\r\n\r\n", 10);
    assert_int_equal(feed(text, 2 + 8191 + 10, 4096, body), 2 + 8191 + 10);
    memset(text + 2, 'e', 8200);
    assert_int_equal(feed(text, 8202, 4096, body), -22);
}

static void test_chunks_take_nothing_beyond_the_end(void **state)
{
    struct chunks chunks = {0};
    const char *data;
    size_t data_len;
    (void)state;
    assert_int_equal(chunks_read(&chunks, "0\r\n\r\nmore", 9, &data, &data_len), 5);
    assert_true(chunks_are_done(&chunks));
    assert_int_equal(chunks_read(&chunks, "more", 4, &data, &data_len), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_chunks_are_joined_however_they_are_cut),
    cmocka_unit_test(test_chunks_refuse_what_others_may_read_differently),
    cmocka_unit_test(test_chunks_bound_what_they_skip),
    cmocka_unit_test(test_chunks_take_nothing_beyond_the_end),
};
UNIT_MAIN(tests)
