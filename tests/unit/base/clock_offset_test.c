/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/clock_offset.h"

#define MS 1000000u

static void test_one_answer_bounds_the_offset_by_its_delay(void **state)
{
    struct clock_offset offset = {0};
    (void)state;
    clock_offset_note(&offset, 100 * MS, 110 * MS, 5000);
    assert_int_equal(offset.least_us, 5000000 - 110001);
    assert_int_equal(offset.most_us, 5000999 - 100000);
    assert_int_equal(clock_offset_most_ms(&offset), 4901);
}

static void test_a_late_answer_does_not_widen_what_is_known(void **state)
{
    struct clock_offset offset = {0};
    (void)state;
    clock_offset_note(&offset, 100 * MS, 101 * MS, 5000);
    clock_offset_note(&offset, 200 * MS, 900 * MS, 5400);
    assert_in_range(offset.most_us, 4900000, 4901600);
    assert_in_range(offset.least_us, 4898000, 4899000);
}

static void test_answers_narrow_the_bounds_below_a_millisecond(void **state)
{
    struct clock_offset offset = {0};
    (void)state;
    /* Ahead by 4900.5 ms, read at once. */
    for (uint64_t us = 100000; us < 103000; us += 100)
        clock_offset_note(&offset, us * 1000, us * 1000, (int64_t)((us + 4900500) / 1000));
    assert_in_range(offset.least_us, 4900300, 4900500);
    assert_in_range(offset.most_us, 4900500, 4900700);
}

static void test_a_clock_that_was_set_is_learnt_anew(void **state)
{
    struct clock_offset offset = {0};
    (void)state;
    clock_offset_note(&offset, 100 * MS, 101 * MS, 5000);
    clock_offset_note(&offset, 200 * MS, 201 * MS, 3000);
    assert_int_equal(clock_offset_most_ms(&offset), 2801);
    clock_offset_note(&offset, 300 * MS, 301 * MS, 9000);
    assert_int_equal(clock_offset_most_ms(&offset), 8701);
}

static void test_bounds_widen_as_clocks_drift(void **state)
{
    struct clock_offset offset = {0};
    (void)state;
    clock_offset_note(&offset, 0, 0, 5000);
    clock_offset_note(&offset, 0, 2000 * (uint64_t)MS, 7000);
    assert_in_range(offset.most_us, 5001900, 5002100);
}

static void test_a_time_out_of_range_is_ignored(void **state)
{
    struct clock_offset offset = {0};
    (void)state;
    clock_offset_note(&offset, 0, 0, INT64_MAX);
    clock_offset_note(&offset, 0, 0, -1);
    assert_false(offset.is_known);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_one_answer_bounds_the_offset_by_its_delay),
    cmocka_unit_test(test_a_late_answer_does_not_widen_what_is_known),
    cmocka_unit_test(test_answers_narrow_the_bounds_below_a_millisecond),
    cmocka_unit_test(test_a_clock_that_was_set_is_learnt_anew),
    cmocka_unit_test(test_bounds_widen_as_clocks_drift),
    cmocka_unit_test(test_a_time_out_of_range_is_ignored),
};
UNIT_MAIN(tests)
