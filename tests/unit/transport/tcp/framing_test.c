/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "transport/tcp/framing.h"

#define LIMIT 8u

/* What a reader finds in bytes that come one at a time, as `w` (whole), `s` (skipped), `T` (too large) and
 * `B` (broken), each but `s` with the frame's length; nothing is found before its last byte. */
static void read_bytewise(char *found, enum framing framing, const char *bytes, size_t len)
{
    struct frame_reader reader = {0};
    size_t done = 0;
    for (size_t end = 1; end <= len; end++) {
        struct frame frame = {0};
        enum frame_result result = frame_read(&reader, framing, bytes + done, end - done, LIMIT, &frame);
        if (result == FRAME_PARTIAL)
            continue;
        done += frame.size;
        if (result != FRAME_SKIPPED) {
            *found++ = result == FRAME_WHOLE ? 'w' : result == FRAME_TOO_LARGE ? 'T' : 'B';
            *found++ = (char)('0' + frame.len);
        }
    }
    *found = '\0';
}

static void expect(enum framing framing, const char *bytes, size_t len, const char *expected)
{
    char found[64];
    read_bytewise(found, framing, bytes, len);
    assert_string_equal(found, expected);
}

static void test_frames_of_the_limit_are_whole(void **state)
{
    (void)state;
    expect(FRAMING_CRLF, "12345678\r\nab\n\n", 14, "w8w2w0");
    expect(FRAMING_CRLF, "12345678\nab\r\n", 13, "w8w2");
    expect(FRAMING_NUL, "12345678\0ab\0\0", 13, "w8w2w0");
    expect(FRAMING_LEN32, "\0\0\0\01012345678\0\0\0\2ab", 18, "w8w2");
}

static void test_frames_over_the_limit_are_told_once_and_skipped(void **state)
{
    (void)state;
    expect(FRAMING_CRLF, "123456789abcdef\r\nab\r\n", 21, "T0w2");
    expect(FRAMING_CRLF, "12345678\rx\nab\n", 14, "T0w2");
    expect(FRAMING_NUL, "123456789abcdef\0ab\0", 19, "T0w2");
    expect(FRAMING_LEN32, "\0\0\0\011", 4, "B0");
}

static void test_a_whole_frame_over_the_limit_is_told_with_its_end(void **state)
{
    struct frame_reader reader = {0};
    struct frame frame;
    (void)state;
    assert_int_equal(frame_read(&reader, FRAMING_CRLF, "123456789\r\nab\r\n", 15, LIMIT, &frame),
                     FRAME_TOO_LARGE);
    assert_int_equal(frame.size, 11);
    assert_int_equal(frame_read(&reader, FRAMING_CRLF, "ab\r\n", 4, LIMIT, &frame), FRAME_WHOLE);
}

static void test_strangers_are_known_by_their_first_bytes(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum framing_stranger stranger;
    } cases[] = {
        {"GET / HTTP/1.1\r\n", 16, STRANGER_HTTP},     {"get /a b HTTP/1.0\n", 18, STRANGER_HTTP},
        {"PRI * HTTP/2.0\r\n", 16, STRANGER_HTTP},     {"GET / HTTP/1.1", 14, STRANGER_NONE},
        {"PUBLISH a HTTP/1.1\r\n", 20, STRANGER_NONE}, {"GET HTTP/1.1\r\n", 14, STRANGER_NONE},
        {"\x16\x03\x01\x02\0\x01", 6, STRANGER_TLS},   {"\x16\x03\x04\x02\0\x01", 6, STRANGER_TLS},
        {"\x16\x03\x05\x02\0\x01", 6, STRANGER_NONE},  {"\x16\x03\x01\x02\0\x02", 6, STRANGER_NONE},
        {"\x16\x03\x01\x02\0", 5, STRANGER_NONE},      {"\x17\x03\x01\x02\0\x01", 6, STRANGER_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(framing_find_stranger(cases[i].bytes, cases[i].len), cases[i].stranger);
}

static void test_the_framing_shows_in_the_first_word(void **state)
{
    static const struct {
        const char *bytes;
        enum framing framing;
    } cases[] = {
        {"", FRAMING_AUTO},
        {"*", FRAMING_RESP},
        {"PIN", FRAMING_AUTO},
        {"PING", FRAMING_AUTO},
        {"PING\r\n", FRAMING_RESP},
        {"hello 3\r\n", FRAMING_RESP},
        {"MULTI\r\n", FRAMING_RESP},
        {"RESET\r\n", FRAMING_RESP},
        {"PUBSUB x\r\n", FRAMING_RESP},
        {"SELECT 0", FRAMING_RESP},
        {"SUBSCRIBE a", FRAMING_CRLF},
        {"QUIT\n", FRAMING_CRLF},
        {"x\n", FRAMING_CRLF},
        {"abcdefghijklmnop", FRAMING_AUTO},
        {"abcdefghijklmnopq", FRAMING_CRLF},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (framing_detect(cases[i].bytes, strlen(cases[i].bytes)) != cases[i].framing)
            fail_msg("'%s'", cases[i].bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_frames_of_the_limit_are_whole),
    cmocka_unit_test(test_frames_over_the_limit_are_told_once_and_skipped),
    cmocka_unit_test(test_a_whole_frame_over_the_limit_is_told_with_its_end),
    cmocka_unit_test(test_strangers_are_known_by_their_first_bytes),
    cmocka_unit_test(test_the_framing_shows_in_the_first_word),
};

UNIT_MAIN(tests)
