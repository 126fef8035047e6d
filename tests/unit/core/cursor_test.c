/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/cursor.h"

#define EPOCH_A "k3q9xm2ab7zt"
#define EPOCH_B "0000000000zz"

static int parse(struct start *start, const char *text)
{
    return start_parse(start, text, strlen(text));
}

static void test_cursor_takes_words(void **state)
{
    struct start start;
    (void)state;
    assert_int_equal(parse(&start, "now"), 0);
    assert_int_equal(start.kind, START_NOW);
    assert_int_equal(parse(&start, "earliest"), 0);
    assert_int_equal(start.kind, START_EARLIEST);
    assert_int_equal(parse(&start, "last=17"), 0);
    assert_int_equal(start.kind, START_LAST);
    assert_int_equal(start.last, 17);
}

static void test_cursor_takes_ids(void **state)
{
    struct start start;
    (void)state;
    assert_int_equal(parse(&start, EPOCH_A "-42." EPOCH_B "-18446744073709551615"), 0);
    assert_int_equal(start.kind, START_CURSOR);
    assert_int_equal(start.count, 2);
    assert_int_equal(start.at[0].offset, 42);
    assert_true(start.at[1].offset == UINT64_MAX);
}

static void test_cursor_takes_a_mark_behind_it(void **state)
{
    struct start start;
    (void)state;
    assert_int_equal(parse(&start, EPOCH_A "-42." EPOCH_B "-7~1700000000000123"), 0);
    assert_int_equal(start.count, 2);
    assert_true(start.at[1].offset == 7);
    assert_int_equal(parse(&start, EPOCH_A "-42~"), -EINVAL);
    assert_int_equal(parse(&start, EPOCH_A "-42~1~2"), -EINVAL);
    assert_int_equal(parse(&start, EPOCH_A "-42~x"), -EINVAL);
    assert_int_equal(parse(&start, EPOCH_A "-42~99999999999999999999"), -EINVAL);
    assert_int_equal(parse(&start, "~1"), -EINVAL);
}

static void test_cursor_rejects_offset_over_64_bits(void **state)
{
    struct start start;
    (void)state;
    assert_int_equal(parse(&start, EPOCH_A "-18446744073709551616"), -EINVAL);
    assert_int_equal(parse(&start, EPOCH_A "-99999999999999999999"), -EINVAL);
    assert_int_equal(parse(&start, EPOCH_A "-100000000000000000000"), -EINVAL);
}

static void test_cursor_rejects_what_is_not_one(void **state)
{
    static const char *const bad[] = {
        "",
        "-",
        ".",
        EPOCH_A,
        EPOCH_A "-",
        EPOCH_A "--1",
        EPOCH_A "-+1",
        EPOCH_A "- 1",
        EPOCH_A "-1.",
        "." EPOCH_A "-1",
        EPOCH_A "-1..",
        EPOCH_A "-0x1",
        "last=",
        "last=-1",
        "last=x",
        "Now",
        "K3Q9XM2AB7ZT-1",
        "k3q9xm2ab7zi-1",
        "k3q9-1",
        "last=18446744073709551616",
        EPOCH_A "-1," EPOCH_B "-1",
    };
    struct start start;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(&start, bad[i]) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
}

static void test_cursor_counts_channels(void **state)
{
    char text[CURSOR_TEXT_MAX * 2] = "";
    struct start start;
    (void)state;
    for (unsigned i = 0; i < CURSOR_CHANNELS_MAX; i++)
        strcat(text, i > 0 ? "." EPOCH_A "-1" : EPOCH_A "-1");
    assert_int_equal(parse(&start, text), 0);
    assert_int_equal(start.count, CURSOR_CHANNELS_MAX);
    strcat(text, "." EPOCH_A "-1");
    assert_int_equal(parse(&start, text), -E2BIG);
}

static void test_cursor_finds_by_name_and_prefers_the_exact_epoch(void **state)
{
    struct start start;
    struct epoch exact;
    struct epoch same_name;
    struct epoch other;
    (void)state;
    assert_int_equal(parse(&start, "k3q9x0000000-1." EPOCH_A "-2"), 0);
    assert_int_equal(epoch_parse(&exact, EPOCH_A), 0);
    assert_int_equal(epoch_parse(&same_name, "k3q9x1111111"), 0);
    assert_int_equal(epoch_parse(&other, EPOCH_B), 0);
    assert_int_equal(start_find(&start, &exact)->offset, 2);
    assert_int_equal(start_find(&start, &same_name)->offset, 1);
    assert_null(start_find(&start, &other));
}

static void test_position_is_written_as_it_is_read(void **state)
{
    char text[POSITION_TEXT_MAX];
    struct epoch epoch = epoch_new("updates", 7);
    struct start start;
    (void)state;
    size_t len = position_format(text, &epoch, UINT64_MAX);
    assert_int_equal(len, POSITION_TEXT_MAX);
    assert_int_equal(start_parse(&start, text, len), 0);
    assert_true(start.at[0].offset == UINT64_MAX);
    assert_true(epoch_equals(&start.at[0].epoch, &epoch));
}

static void test_epoch_begins_with_the_hash_of_the_name(void **state)
{
    struct epoch first = epoch_new("updates", 7);
    struct epoch second = epoch_new("updates", 7);
    struct epoch other = epoch_new("updatex", 7);
    (void)state;
    assert_true(epoch_has_same_name(&first, &second));
    assert_false(epoch_equals(&first, &second));
    assert_false(epoch_has_same_name(&first, &other));
    /* Clients keep cursors for ever: the hash must never change. */
    assert_memory_equal(first.text, "3dg7v", EPOCH_NAME_LEN);
}

static void test_epoch_is_made_of_its_alphabet_only(void **state)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    struct epoch epoch;
    char text[] = EPOCH_A;
    (void)state;
    for (int byte = CHAR_MIN; byte <= CHAR_MAX; byte++) {
        bool is_of_it = memchr(alphabet, byte, sizeof(alphabet) - 1) != NULL;
        text[EPOCH_LEN - 1] = (char)byte;
        assert_int_equal(epoch_parse(&epoch, text), is_of_it ? 0 : -EINVAL);
    }
}

static void test_entries_of_wild_names_come_besides(void **state)
{
    char text[CURSOR_TEXT_MAX * 2] = "";
    size_t len = 0;
    struct start start;
    (void)state;
    for (unsigned i = 0; i < CURSOR_ENTRIES_MAX; i++) {
        if (i == CURSOR_PATTERNS_MAX)
            assert_int_equal(start_parse(&start, text, len - 1), 0);
        len +=
            (size_t)sprintf(text + len, i < CURSOR_PATTERNS_MAX ? "401ye0000000-%u." : "v6zt56s3th19-%u.", i);
    }
    assert_int_equal(start_parse(&start, text, len - 1), 0);
    assert_int_equal(start.count, CURSOR_ENTRIES_MAX);
    assert_true(epoch_is_of_name(&start.at[0].epoch) && !epoch_is_of_name(&start.at[8].epoch));
    sprintf(text + len, "401ye0000000-1");
    assert_int_equal(start_parse(&start, text, strlen(text)), -E2BIG);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_entries_of_wild_names_come_besides),
    cmocka_unit_test(test_cursor_takes_words),
    cmocka_unit_test(test_cursor_takes_ids),
    cmocka_unit_test(test_cursor_takes_a_mark_behind_it),
    cmocka_unit_test(test_cursor_rejects_offset_over_64_bits),
    cmocka_unit_test(test_cursor_rejects_what_is_not_one),
    cmocka_unit_test(test_cursor_counts_channels),
    cmocka_unit_test(test_cursor_finds_by_name_and_prefers_the_exact_epoch),
    cmocka_unit_test(test_position_is_written_as_it_is_read),
    cmocka_unit_test(test_epoch_begins_with_the_hash_of_the_name),
    cmocka_unit_test(test_epoch_is_made_of_its_alphabet_only),
};
UNIT_MAIN(tests)
