/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/websocket_frame.h"

static void test_a_length_takes_the_shortest_form_that_holds_it(void **state)
{
    static const struct {
        uint64_t len;
        const char *head;
        size_t size;
    } cases[] = {
        {0, "\x81\x00", 2},
        {125, "\x81\x7d", 2},
        {126, "\x81\x7e\x00\x7e", 4},
        {65535, "\x81\x7e\xff\xff", 4},
        {65536, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10},
        {INT64_MAX, "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf to = {0};
        websocket_append_frame_head(&to, WEBSOCKET_TEXT, cases[i].len);
        assert_int_equal(to.len, cases[i].size);
        assert_memory_equal(to.bytes, cases[i].head, to.len);
        buf_deinit(&to);
    }
}

static void test_a_frame_begins_before_what_is_there_and_holds_what_follows(void **state)
{
    struct buf to = {0};
    (void)state;
    buf_append_text(&to, "before{");
    websocket_begin_frame(&to, 6, WEBSOCKET_BINARY, 4);
    assert_int_equal(to.len, 9);
    assert_memory_equal(to.bytes, "before\x82\x05{", 9);
    websocket_begin_frame(&to, to.len, WEBSOCKET_PING, 0);
    assert_memory_equal(to.bytes + 9, "\x89\x00", 2);
    buf_deinit(&to);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_length_takes_the_shortest_form_that_holds_it),
    cmocka_unit_test(test_a_frame_begins_before_what_is_there_and_holds_what_follows),
};
UNIT_MAIN(tests)
