/* SPDX-License-Identifier: MIT */
#include "core/ancestry.h"

#include <stdio.h>

#include "unit.h"

static struct epoch epoch_number(unsigned number)
{
    char text[32];
    struct epoch epoch;
    snprintf(text, sizeof(text), "aaaaa%07u", number);
    assert_int_equal(epoch_parse(&epoch, text), 0);
    return epoch;
}

static void test_an_ancestry_knows_the_last_eight(void **state)
{
    struct ancestry ancestry = {0};
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct epoch epoch = epoch_number(i);
        assert_false(ancestry_has(&ancestry, &epoch));
        ancestry_add(&ancestry, &epoch);
        assert_true(ancestry_has(&ancestry, &epoch));
    }
    assert_int_equal(ancestry.count, ANCESTRY_MAX);
    for (unsigned i = 0; i < 10; i++) {
        struct epoch epoch = epoch_number(i);
        assert_int_equal(ancestry_has(&ancestry, &epoch), i >= 2);
    }
    struct epoch newest = epoch_number(9);
    assert_true(epoch_equals(&ancestry.forebears[0], &newest));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_ancestry_knows_the_last_eight)};
UNIT_MAIN(tests)
