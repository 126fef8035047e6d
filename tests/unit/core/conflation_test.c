/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "core/conflation.h"
#include "failing.h"

static void test_the_newest_of_each_key_is_known(void **state)
{
    struct conflation table = {0};
    (void)state;
    assert_int_equal(conflation_newest(&table, 7), 0);
    for (uint64_t offset = 1; offset <= 1000; offset++)
        conflation_note(&table, offset % 10, offset, 1);
    for (uint64_t hash = 0; hash < 10; hash++)
        assert_int_equal(conflation_newest(&table, hash), hash == 0 ? 1000 : 990 + hash);
    assert_int_equal(conflation_newest(&table, 10), 0);
    assert_int_equal(table.count, 10);
    conflation_deinit(&table);
}

static void test_keys_that_come_and_go_do_not_fill_memory(void **state)
{
    struct conflation table = {0};
    (void)state;
    for (uint64_t offset = 1; offset <= 100000; offset++)
        conflation_note(&table, offset * 0x9e3779b97f4a7c15u, offset, offset > 100 ? offset - 100 : 1);
    assert_in_range(table.capacity, 128, 1024);
    for (uint64_t offset = 99901; offset <= 100000; offset++)
        assert_int_equal(conflation_newest(&table, offset * 0x9e3779b97f4a7c15u), offset);
    conflation_deinit(&table);
}

static void test_without_memory_nothing_is_known(void **state)
{
    struct conflation table = {0};
    (void)state;
    conflation_note(&table, 1, 1, 1);
    memory_is_out = true;
    for (uint64_t offset = 2; offset < 20; offset++)
        conflation_note(&table, offset, offset, 1);
    memory_is_out = false;
    assert_int_equal(conflation_newest(&table, 1), 0);
    conflation_note(&table, 1, 20, 1);
    assert_int_equal(conflation_newest(&table, 1), 20);
    conflation_deinit(&table);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_newest_of_each_key_is_known),
    cmocka_unit_test(test_keys_that_come_and_go_do_not_fill_memory),
    cmocka_unit_test(test_without_memory_nothing_is_known),
};
UNIT_MAIN(tests)
