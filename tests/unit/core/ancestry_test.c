/* SPDX-License-Identifier: MIT */
#include "core/ancestry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

static struct epoch epoch_number(unsigned number)
{
    char text[32];
    struct epoch epoch;
    snprintf(text, sizeof(text), "aaaaa%07u", number);
    assert_int_equal(epoch_parse(&epoch, text), 0);
    return epoch;
}

static void add(struct ancestry *ancestry, unsigned number, uint64_t shared, bool is_doubtful)
{
    const struct forebear forebear = {epoch_number(number), is_doubtful, shared};
    ancestry_add(ancestry, &forebear);
}

static const struct forebear *find(const struct ancestry *ancestry, unsigned number)
{
    const struct epoch epoch = epoch_number(number);
    return ancestry_find(ancestry, &epoch);
}

static void test_an_ancestry_knows_the_last_eight(void **state)
{
    struct ancestry ancestry = {0};
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        assert_null(find(&ancestry, i));
        add(&ancestry, i, i, false);
        assert_int_equal(find(&ancestry, i)->shared, i);
    }
    assert_int_equal(ancestry.count, ANCESTRY_MAX);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(find(&ancestry, i) != NULL, i >= 2);
    assert_ptr_equal(find(&ancestry, 9), &ancestry.forebears[0]);
}

static void test_the_elder_share_no_more_than_the_younger(void **state)
{
    struct ancestry ancestry = {0};
    (void)state;
    add(&ancestry, 1, 10, false);
    add(&ancestry, 2, 7, false);
    add(&ancestry, 3, 9, false);
    assert_int_equal(find(&ancestry, 1)->shared, 7);
    assert_int_equal(find(&ancestry, 2)->shared, 7);
    assert_int_equal(find(&ancestry, 3)->shared, 9);
    add(&ancestry, 4, 20, true);
    add(&ancestry, 5, 30, false);
    for (unsigned i = 1; i <= 5; i++)
        assert_int_equal(find(&ancestry, i)->is_doubtful, i < 5);
}

static int parse(struct ancestry *ancestry, const char *text)
{
    return ancestry_parse(ancestry, text, strlen(text));
}

static void test_an_ancestry_is_written_as_it_was_read(void **state)
{
    static const char *const texts[] = {"", "aaaaa0000001-7",
                                        "aaaaa0000001-18446744073709551615 aaaaa0000002",
                                        "aaaaa0000001 aaaaa0000002-0"};
    char to[ANCESTRY_TEXT_MAX];
    struct ancestry ancestry;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(parse(&ancestry, texts[i]), 0);
        assert_int_equal(ancestry_format(to, &ancestry), strlen(texts[i]));
        assert_memory_equal(to, texts[i], strlen(texts[i]));
    }
    assert_true(ancestry.forebears[0].is_doubtful);
    assert_false(ancestry.forebears[1].is_doubtful);
}

static void test_the_longest_ancestry_has_room(void **state)
{
    char to[ANCESTRY_TEXT_MAX];
    struct ancestry ancestry = {0};
    struct ancestry again;
    (void)state;
    for (unsigned i = 0; i < ANCESTRY_MAX; i++)
        add(&ancestry, i, UINT64_MAX, false);
    size_t len = ancestry_format(to, &ancestry);
    assert_int_equal(len, ANCESTRY_TEXT_MAX - 1);
    assert_int_equal(ancestry_parse(&again, to, len), 0);
    assert_int_equal(again.count, ANCESTRY_MAX);
}

static void test_what_is_no_ancestry_is_refused(void **state)
{
    static const char *const texts[] = {
        " ",
        "aaaaa000001",
        "aaaaa00000011",
        "aaaaa0000001_7",
        "aaaaa0000001-",
        "aaaaa0000001-x",
        "aaaaa0000001--1",
        "aaaaa0000001-18446744073709551616",
        "aaaaa000000u-7",
        "aaaaa0000001-7 ",
        " aaaaa0000001-7",
        "aaaaa0000001-7  aaaaa0000002-7",
        "aaaaa0000001 aaaaa0000001 aaaaa0000001 aaaaa0000001 aaaaa0000001 aaaaa0000001 aaaaa0000001 "
        "aaaaa0000001 "
        "aaaaa0000001",
    };
    struct ancestry ancestry;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(parse(&ancestry, texts[i]), -EINVAL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_an_ancestry_knows_the_last_eight),
    cmocka_unit_test(test_the_elder_share_no_more_than_the_younger),
    cmocka_unit_test(test_an_ancestry_is_written_as_it_was_read),
    cmocka_unit_test(test_the_longest_ancestry_has_room),
    cmocka_unit_test(test_what_is_no_ancestry_is_refused),
};
UNIT_MAIN(tests)
