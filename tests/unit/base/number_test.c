/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/number.h"

static void test_numbers_are_strict(void **state)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1e3", "a", "1.0"};
    uint64_t value;
    (void)state;
    assert_int_equal(number_parse_u64(&value, "18446744073709551615", 20), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(number_parse_u64(&value, "18446744073709551616", 20), -ERANGE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(number_parse_u64(&value, bad[i], strlen(bad[i])), -EINVAL);
}

static void test_sizes_and_times_take_units(void **state)
{
    uint64_t value;
    (void)state;
    assert_int_equal(number_parse_bytes(&value, "4MiB", 4), 0);
    assert_int_equal(value, 4194304);
    assert_int_equal(number_parse_bytes(&value, "512", 3), 0);
    assert_int_equal(value, 512);
    assert_int_equal(number_parse_bytes(&value, "4MB", 3), -EINVAL);
    assert_int_equal(number_parse_bytes(&value, "18014398509481984KiB", 20), -ERANGE);
    assert_int_equal(number_parse_duration_ms(&value, "5m", 2), 0);
    assert_int_equal(value, 300000);
    assert_int_equal(number_parse_duration_ms(&value, "250ms", 5), 0);
    assert_int_equal(value, 250);
    assert_int_equal(number_parse_duration_ms(&value, "0.3", 3), 0);
    assert_int_equal(value, 300);
    assert_int_equal(number_parse_duration_ms(&value, "2.25s", 5), 0);
    assert_int_equal(value, 2250);
    assert_int_equal(number_parse_duration_ms(&value, ".", 1), -EINVAL);
    assert_int_equal(number_parse_duration_ms(&value, "1.2345", 6), -EINVAL);
}

static void test_numbers_overflow_loudly_and_leave_the_value_alone(void **state)
{
    static const char *const durations[] = {"18446744073709551615d", "18446744073709552s", "213503982335d",
                                            "18446744073709551.616s", "18446744073709551616ms"};
    uint64_t value = 7;
    (void)state;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
        assert_int_equal(number_parse_duration_ms(&value, durations[i], strlen(durations[i])), -ERANGE);
    assert_int_equal(number_parse_bytes(&value, "17179869184GiB", 14), -ERANGE);
    assert_int_equal(number_parse_u64(&value, "99999999999999999999999", 23), -ERANGE);
    assert_int_equal(number_parse_bytes(&value, "12x", 3), -EINVAL);
    assert_int_equal(number_parse_duration_ms(&value, "12ss", 4), -EINVAL);
    assert_int_equal(number_parse_duration_ms(&value, "ms", 2), -EINVAL);
    assert_int_equal(number_parse_duration_ms(&value, "1.5m", 4), -EINVAL);
    assert_int_equal(value, 7);
    assert_int_equal(number_parse_duration_ms(&value, "18446744073709551.615S", 22), 0);
    assert_true(value == UINT64_MAX);
}

static void test_numbers_are_written_whole(void **state)
{
    char text[20];
    (void)state;
    assert_int_equal(number_format_u64(text, 0), 1);
    assert_int_equal(text[0], '0');
    assert_int_equal(number_format_u64(text, UINT64_MAX), 20);
    assert_memory_equal(text, "18446744073709551615", 20);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_numbers_are_strict),
    cmocka_unit_test(test_sizes_and_times_take_units),
    cmocka_unit_test(test_numbers_overflow_loudly_and_leave_the_value_alone),
    cmocka_unit_test(test_numbers_are_written_whole),
};
UNIT_MAIN(tests)
