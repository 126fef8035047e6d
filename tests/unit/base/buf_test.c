/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static void test_what_is_appended_stands_one_behind_the_other(void **state)
{
    struct buf buf = {0};
    (void)state;
    buf_append(&buf, NULL, 0);
    assert_null(buf.bytes);
    buf_append_text(&buf, "a=");
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_char(&buf, ';');
    buf_append(&buf, "\0z", 2);
    assert_int_equal(buf.len, 25);
    assert_memory_equal(buf.bytes, "a=18446744073709551615;\0z", 25);
    assert_false(buf.has_failed);
    buf_deinit(&buf);
    assert_null(buf.bytes);
    assert_int_equal(buf.capacity, 0);
}

static void test_it_grows_to_what_is_needed_and_keeps_what_is_there(void **state)
{
    struct buf buf = {0};
    (void)state;
    assert_int_equal(buf_reserve(&buf, 1), 0);
    size_t first = buf.capacity;
    for (size_t i = 0; i < first; i++)
        buf_append_char(&buf, 'x');
    assert_int_equal(buf.capacity, first);
    buf_append_char(&buf, 'y');
    assert_true(buf.capacity > first);
    assert_int_equal(buf_reserve(&buf, 5 * first), 0);
    assert_true(buf.capacity >= buf.len + 5 * first);
    assert_int_equal(buf.bytes[0], 'x');
    assert_int_equal(buf.bytes[first], 'y');
    buf_deinit(&buf);
}

static void test_what_is_inserted_stands_before_what_was_there(void **state)
{
    struct buf buf = {0};
    (void)state;
    buf_append_text(&buf, "ad");
    buf_insert(&buf, 1, "bc", 2);
    buf_insert(&buf, 4, "e", 1);
    buf_insert(&buf, 0, "", 0);
    assert_int_equal(buf.len, 5);
    assert_memory_equal(buf.bytes, "abcde", 5);
    buf_deinit(&buf);
}

static void test_a_failure_is_remembered(void **state)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 3, SIZE_MAX / 2 + 2};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct buf buf = {0};
        buf_append_text(&buf, "ab");
        assert_int_equal(buf_reserve(&buf, sizes[i]), -ENOMEM);
        assert_true(buf.has_failed);
        buf_append_text(&buf, "c");
        assert_int_equal(buf.len, 2);
        assert_int_equal(buf_reserve(&buf, 0), -ENOMEM);
        buf_deinit(&buf);
        assert_false(buf.has_failed);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_what_is_appended_stands_one_behind_the_other),
    cmocka_unit_test(test_it_grows_to_what_is_needed_and_keeps_what_is_there),
    cmocka_unit_test(test_what_is_inserted_stands_before_what_was_there),
    cmocka_unit_test(test_a_failure_is_remembered),
};
UNIT_MAIN(tests)
