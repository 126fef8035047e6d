/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"

#include "websocket/input.h"

#define LAST 0x80u
#define TEXT 0x1u
#define BINARY 0x2u
#define CLOSE 0x8u
#define PING 0x9u
#define PONG 0xau
#define MESSAGE_MOST 70000u
#define FRAGMENTS_MOST 5u

static const struct input_limits limits = {MESSAGE_MOST, FRAGMENTS_MOST};

/* As a client sends it: masked. */
static void put(struct buf *to, unsigned head, const char *payload, size_t len)
{
    static const char mask[] = {0x12, 0x34, 0x56, 0x78};
    const size_t extended = len < 126 ? 0 : len < 65536 ? 2 : 8;
    buf_append_char(to, (char)head);
    buf_append_char(to, (char)(0x80 | (extended == 0 ? len : extended == 2 ? 126 : 127)));
    for (size_t i = 0; i < extended; i++)
        buf_append_char(to, (char)(len >> 8 * (extended - 1 - i)));
    buf_append(to, mask, sizeof(mask));
    for (size_t i = 0; i < len; i++)
        buf_append_char(to, (char)(payload[i] ^ mask[i % 4]));
}

static void put_text(struct buf *to, unsigned head, const char *payload)
{
    put(to, head, payload, strlen(payload));
}

/* Says what has come: `text(hello)`; long ones by their length. */
static void note(struct buf *said, const struct input_event *event)
{
    static const char *const words[] = {"", "", "ping", "pong", "close", "failed"};
    char text[256];
    const char *word = event->kind == INPUT_MESSAGE ? event->is_text ? "text" : "binary" : words[event->kind];
    unsigned code = event->kind == INPUT_FAILED ? close_code(event->reason) : event->code;
    snprintf(text, sizeof(text), "%s%s(", said->len > 0 ? " " : "", word);
    buf_append_text(said, text);
    if (event->kind == INPUT_CLOSE || event->kind == INPUT_FAILED) {
        buf_append_u64(said, code);
        buf_append_text(said, event->bytes.len > 0 ? " " : "");
    }
    if (event->bytes.len > 130)
        buf_append_u64(said, event->bytes.len);
    else
        buf_append(said, event->bytes.bytes, event->bytes.len);
    buf_append_char(said, ')');
}

/* Gives the bytes in pieces. */
static void hear(struct buf *said, const struct buf *bytes, size_t piece)
{
    struct input input = {0};
    struct input_event event = {.kind = INPUT_NOTHING};
    for (size_t at = 0; at < bytes->len && event.kind != INPUT_FAILED; at += piece) {
        /* At the end of a block of memory of its own, so that a byte too many is found. */
        size_t len = bytes->len - at < piece ? bytes->len - at : piece;
        char *copy = malloc(len);
        memcpy(copy, bytes->bytes + at, len);
        struct text rest = {copy, len};
        for (input_read(&input, &rest, &limits, &event);
             event.kind != INPUT_NOTHING && event.kind != INPUT_FAILED;
             input_read(&input, &rest, &limits, &event))
            note(said, &event);
        if (event.kind == INPUT_NOTHING)
            assert_int_equal(rest.len, 0);
        free(copy);
    }
    if (event.kind == INPUT_FAILED)
        note(said, &event);
    input_deinit(&input);
}

/* However the bytes are cut, just this comes of them. The bytes are freed. */
static void expect(struct buf *bytes, const char *expected)
{
    static const size_t pieces[] = {1, 2, 3, 4, 5, 7, 13, 4095, 4096, 4097, 65536, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        struct buf said = {0};
        hear(&said, bytes, pieces[i]);
        buf_append_char(&said, '\0');
        if (strcmp(said.bytes, expected) != 0)
            fail_msg("in pieces of %zu: '%s' instead of '%s'", pieces[i], said.bytes, expected);
        buf_deinit(&said);
    }
    buf_deinit(bytes);
}

static void test_messages_come_whole_however_they_are_cut(void **state)
{
    static char large[MESSAGE_MOST];
    struct buf bytes = {0};
    (void)state;
    memset(large, 'x', sizeof(large));
    put_text(&bytes, LAST | TEXT, "h\xc3\xa4llo");
    put_text(&bytes, LAST | BINARY, "");
    put_text(&bytes, LAST | TEXT, "");
    put(&bytes, LAST | BINARY, large, 125);
    put(&bytes, LAST | BINARY, large, 126);
    put(&bytes, LAST | TEXT, large, 65535);
    put(&bytes, LAST | TEXT, large, 65536);
    put(&bytes, LAST | TEXT, large, MESSAGE_MOST);
    put(&bytes, LAST | BINARY, "\xff\x00\xc0", 3);
    char expected[512];
    snprintf(expected, sizeof(expected),
             "text(h\xc3\xa4llo) binary() text() binary(%.125s) binary(%.126s) text(65535) text(65536) "
             "text(70000) "
             "binary(\xff",
             large, large);
    /* The rest of the last message is behind a NUL. */
    expect(&bytes, expected);
}

static void test_a_message_is_put_together_of_its_fragments(void **state)
{
    struct buf bytes = {0};
    (void)state;
    put_text(&bytes, TEXT, "a\xe2");
    put_text(&bytes, LAST | PING, "between");
    put_text(&bytes, 0, "\x82");
    put_text(&bytes, LAST | PONG, "");
    put_text(&bytes, 0, "");
    put_text(&bytes, LAST,
             "\xac"
             "b");
    put_text(&bytes, BINARY, "");
    put_text(&bytes, LAST, "");
    put_text(&bytes, LAST | TEXT, "c");
    expect(&bytes, "ping(between) pong() text(a\xe2\x82\xac"
                   "b) binary() text(c)");
}

/* Each of these frames ends the connection, behind a message that is told. */
static void test_frames_that_are_not_allowed_fail(void **state)
{
    static const struct {
        unsigned head;
        const char *payload;
        size_t len;
        const char *expected;
    } cases[] = {
        {LAST | 0x40 | TEXT, "x", 1, "failed(1002)"},
        {LAST | 0x20 | TEXT, "x", 1, "failed(1002)"},
        {LAST | 0x10 | PING, "", 0, "failed(1002)"},
        {LAST | 0x70 | CLOSE, "", 0, "failed(1002)"},
        {LAST | 0x3, "", 0, "failed(1002)"},
        {LAST | 0x7, "x", 1, "failed(1002)"},
        {LAST | 0xb, "", 0, "failed(1002)"},
        {LAST | 0xf, "x", 1, "failed(1002)"},
        {LAST | 0x0, "x", 1, "failed(1002)"},
        {0x0, "x", 1, "failed(1002)"},
        {PING, "", 0, "failed(1002)"},
        {PONG, "x", 1, "failed(1002)"},
        {CLOSE, "", 0, "failed(1002)"},
        {LAST | CLOSE, "\x03", 1, "failed(1002)"},
        {LAST | CLOSE, "\x03\xe8\xff", 3, "failed(1007)"},
        {LAST | CLOSE, "\x03\xe8\xc3\xa4", 4, "close(1000 \xc3\xa4)"},
        {LAST | CLOSE, "", 0, "close(0)"},
        {LAST | TEXT, "\xff", 1, "failed(1007)"},
        {LAST | TEXT, "a\xe2\x82", 3, "failed(1007)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf bytes = {0};
        char expected[64];
        snprintf(expected, sizeof(expected), "text(before) %s", cases[i].expected);
        put_text(&bytes, LAST | TEXT, "before");
        put(&bytes, cases[i].head, cases[i].payload, cases[i].len);
        expect(&bytes, expected);
    }
}

static void test_control_frames_have_at_most_125_bytes(void **state)
{
    char payload[126];
    struct buf bytes = {0};
    char expected[200];
    (void)state;
    memset(payload, 'p', sizeof(payload));
    put(&bytes, LAST | PING, payload, 125);
    put(&bytes, LAST | PING, payload, 126);
    snprintf(expected, sizeof(expected), "ping(%.125s) failed(1002)", payload);
    expect(&bytes, expected);
}

static void test_close_codes_that_may_not_be_sent_fail(void **state)
{
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                    1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        const char payload[] = {(char)(good[i] >> 8), (char)good[i]};
        struct buf bytes = {0};
        char expected[32];
        snprintf(expected, sizeof(expected), "close(%u)", good[i]);
        put(&bytes, LAST | CLOSE, payload, sizeof(payload));
        expect(&bytes, expected);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const char payload[] = {(char)(bad[i] >> 8), (char)bad[i]};
        struct buf bytes = {0};
        put(&bytes, LAST | CLOSE, payload, sizeof(payload));
        expect(&bytes, "failed(1002)");
    }
}

static void test_a_message_does_not_begin_within_another(void **state)
{
    struct buf bytes = {0};
    (void)state;
    put_text(&bytes, TEXT, "a");
    put_text(&bytes, LAST | TEXT, "b");
    expect(&bytes, "failed(1002)");
    put_text(&bytes, BINARY, "a");
    put_text(&bytes, BINARY, "b");
    expect(&bytes, "failed(1002)");
    put_text(&bytes, BINARY, "a");
    put_text(&bytes, LAST, "b");
    put_text(&bytes, LAST, "c");
    expect(&bytes, "binary(ab) failed(1002)");
}

static void test_too_many_bytes_or_fragments_fail(void **state)
{
    static char large[MESSAGE_MOST + 1];
    struct buf bytes = {0};
    (void)state;
    memset(large, 'x', sizeof(large));
    put(&bytes, LAST | TEXT, large, sizeof(large));
    expect(&bytes, "failed(1009)");
    put(&bytes, TEXT, large, MESSAGE_MOST);
    put(&bytes, LAST, large, 1);
    expect(&bytes, "failed(1009)");
    put(&bytes, TEXT, large, 1);
    put(&bytes, LAST, large, MESSAGE_MOST - 1);
    expect(&bytes, "text(70000)");
    for (unsigned i = 0; i < FRAGMENTS_MOST; i++)
        put_text(&bytes, i == 0 ? TEXT : 0, "");
    put_text(&bytes, LAST, "");
    expect(&bytes, "failed(1008)");
    for (unsigned i = 0; i < FRAGMENTS_MOST; i++)
        put_text(&bytes, i == 0 ? TEXT : i == FRAGMENTS_MOST - 1 ? LAST : 0, "");
    expect(&bytes, "text()");
}

/* A length is written in the shortest way, and its highest bit is 0 (RFC 6455, section 5.2). What is
 * announced is judged before it has come. */
static void test_lengths_are_judged_before_the_payload_has_come(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *expected;
    } cases[] = {
        {"\x82\xfe\x00\x7d\x01\x02\x03\x04x", 9, "failed(1002)"},
        {"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04x", 15, "failed(1002)"},
        {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04x", 15, "failed(1002)"},
        {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04x", 15, "failed(1002)"},
        {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04x", 15, "failed(1009)"},
        {"\x89\xfe\x00\x7e\x01\x02\x03\x04x", 9, "failed(1002)"},
        {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04", 14, "failed(1009)"},
        {"\x81\xff\x00\x00\x00\x00\x00\x01\x11\x71\x01\x02\x03\x04", 14, "failed(1009)"}, /* 70001 */
        {"\x81\xff\x00\x00\x00\x00\x00\x01\x11\x70\x01\x02\x03\x04", 14, ""},
        {"\x81\xff\x00\x00\x00\x00\x00\x01\x11\x71\x01\x02\x03", 13, ""},
        {"\x01\x81\x01\x02\x03\x04x\x80\xff\x00\x00\x00\x00\x00\x01\x11\x70\x01\x02\x03\x04", 21,
         "failed(1009)"},
        {"\x89\xfe\x00\x7e\x01\x02\x03\x04", 8, "failed(1002)"},
        {"\x83\x81\x01\x02\x03\x04", 6, "failed(1002)"},
        {"\x82\x01", 2, "failed(1002)"},
        {"\x82\x01x", 3, "failed(1002)"},
        {"\x89\x00", 2, "failed(1002)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf bytes = {0};
        buf_append(&bytes, cases[i].bytes, cases[i].len);
        expect(&bytes, cases[i].expected);
    }
}

static void test_bad_text_fails_before_the_message_is_whole(void **state)
{
    struct buf bytes = {0};
    (void)state;
    put_text(&bytes, TEXT, "a\xed\xa0");
    expect(&bytes, "failed(1007)");
    put_text(&bytes, TEXT, "a\xf4");
    put_text(&bytes, 0, "\x90");
    expect(&bytes, "failed(1007)");
}

static void test_nothing_is_held_between_two_messages(void **state)
{
    struct input input = {0};
    struct input_event event;
    struct buf bytes = {0};
    (void)state;
    put_text(&bytes, TEXT, "one");
    put_text(&bytes, LAST, "two");
    struct text rest = {bytes.bytes, bytes.len};
    input_read(&input, &rest, &limits, &event);
    assert_int_equal(event.kind, INPUT_MESSAGE);
    input_read(&input, &rest, &limits, &event);
    assert_int_equal(event.kind, INPUT_NOTHING);
    assert_null(input.frames);
    assert_null(input.message.bytes);
    buf_deinit(&bytes);
}

static void test_a_message_that_is_kept_outlives_what_came_behind_it(void **state)
{
    struct input input = {0};
    struct input_event event;
    struct buf bytes = {0};
    (void)state;
    put_text(&bytes, LAST | TEXT, "kept");
    put_text(&bytes, LAST | BINARY, "next");
    struct text rest = {bytes.bytes, bytes.len};
    input_read(&input, &rest, &limits, &event);
    assert_int_equal(input_keep(&input, &event), 0);
    memset(bytes.bytes, 0, bytes.len);
    event = input_kept(&input);
    assert_true(event.is_text && text_is(event.bytes, "kept"));
    assert_int_equal(input_keep(&input, &event), 0);
    event = input_kept(&input);
    assert_true(text_is(event.bytes, "kept"));
    struct text nothing = {"", 0};
    input_read(&input, &nothing, &limits, &event);
    assert_true(event.kind == INPUT_MESSAGE && !event.is_text && text_is(event.bytes, "next"));
    input_read(&input, &nothing, &limits, &event);
    assert_int_equal(event.kind, INPUT_NOTHING);
    assert_null(input.frames);
    buf_deinit(&bytes);
}

static void test_without_memory_the_peer_is_to_come_back(void **state)
{
    static const struct {
        unsigned first;
        size_t piece;
    } cases[] = {{TEXT, 9}, {LAST | PING, 8}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct input input = {0};
        struct input_event event;
        struct buf bytes = {0};
        put_text(&bytes, cases[i].first, "abc");
        struct text rest = {bytes.bytes, cases[i].piece};
        memory_is_out = true;
        input_read(&input, &rest, &limits, &event);
        memory_is_out = false;
        assert_int_equal(event.kind, INPUT_FAILED);
        assert_int_equal(event.reason, CLOSE_TRY_LATER);
        input_deinit(&input);
        buf_deinit(&bytes);
    }
}

static void test_without_memory_a_message_is_not_kept(void **state)
{
    struct input input = {0};
    struct input_event event;
    struct buf bytes = {0};
    (void)state;
    put_text(&bytes, LAST | TEXT, "abc");
    struct text rest = {bytes.bytes, bytes.len};
    input_read(&input, &rest, &limits, &event);
    memory_is_out = true;
    assert_int_not_equal(input_keep(&input, &event), 0);
    memory_is_out = false;
    input_deinit(&input);
    buf_deinit(&bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_messages_come_whole_however_they_are_cut),
    cmocka_unit_test(test_a_message_is_put_together_of_its_fragments),
    cmocka_unit_test(test_frames_that_are_not_allowed_fail),
    cmocka_unit_test(test_control_frames_have_at_most_125_bytes),
    cmocka_unit_test(test_close_codes_that_may_not_be_sent_fail),
    cmocka_unit_test(test_a_message_does_not_begin_within_another),
    cmocka_unit_test(test_too_many_bytes_or_fragments_fail),
    cmocka_unit_test(test_lengths_are_judged_before_the_payload_has_come),
    cmocka_unit_test(test_bad_text_fails_before_the_message_is_whole),
    cmocka_unit_test(test_nothing_is_held_between_two_messages),
    cmocka_unit_test(test_a_message_that_is_kept_outlives_what_came_behind_it),
    cmocka_unit_test(test_without_memory_the_peer_is_to_come_back),
    cmocka_unit_test(test_without_memory_a_message_is_not_kept),
};
UNIT_MAIN(tests)
