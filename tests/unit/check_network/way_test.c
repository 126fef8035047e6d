/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_network/way.h"

#define MARK "check-0123456789-"

static struct way way;

static int set_up(void **state)
{
    (void)state;
    way_init(&way, "sse", MARK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    way_deinit(&way);
    return 0;
}

static void take(const char *text)
{
    way_take(&way, text, strlen(text), 7);
}

static void test_marks_are_found_wherever_they_are_cut(void **state)
{
    static const char text[] =
        "id: 1\ndata: " MARK "0.\n\ncheck-check-" MARK MARK "31.\n" MARK "x." MARK "5.";
    (void)state;
    for (size_t first = 0; first < sizeof(text); first++) {
        for (size_t second = first; second < sizeof(text); second++) {
            way_deinit(&way);
            way_init(&way, "sse", MARK);
            way_take(&way, text, first, 1);
            way_take(&way, text + first, second - first, 2);
            way_take(&way, text + second, sizeof(text) - 1 - second, 3);
            for (unsigned number = 0; number < WAY_MESSAGES_MAX; number++)
                assert_int_equal(way.received_ns[number] != 0, number == 0 || number == 31 || number == 5);
            assert_int_equal(way.doubled, 0);
        }
    }
}

static void test_a_byte_at_a_time_and_twice(void **state)
{
    char mark[WAY_MARK_MAX];
    (void)state;
    way_make_mark(mark, MARK, 12);
    assert_string_equal(mark, MARK "12.");
    for (unsigned round = 0; round < 2; round++)
        for (const char *at = mark; *at; at++)
            way_take(&way, at, 1, 7);
    assert_int_equal(way.received_ns[12], 7);
    assert_int_equal(way.doubled, 1);
}

static void test_what_is_no_mark_is_passed_over_and_not_kept(void **state)
{
    (void)state;
    take(MARK "32.");
    take(MARK "-1.");
    take(MARK "18446744073709551617.");
    take("check-9999999999-1.");
    for (unsigned i = 0; i < 1000; i++)
        take(MARK "000000000000000000000000000000000000000000000000");
    for (unsigned number = 0; number < WAY_MESSAGES_MAX; number++)
        assert_int_equal(way.received_ns[number], 0);
    assert_true(way.pending.len < WAY_MARK_MAX + sizeof(MARK));
}

static void test_only_the_first_end_counts(void **state)
{
    (void)state;
    way.opened_ns = 1;
    assert_true(way_is_open(&way));
    way_end(&way, 5, "cut by %s", "somebody");
    way_end(&way, 6, "again");
    assert_int_equal(way.ended_ns, 5);
    assert_string_equal(way.fault, "cut by somebody");
    assert_false(way_is_open(&way));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_marks_are_found_wherever_they_are_cut, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_a_byte_at_a_time_and_twice, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_what_is_no_mark_is_passed_over_and_not_kept, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_only_the_first_end_counts, set_up, tear_down),
};
UNIT_MAIN(tests)
