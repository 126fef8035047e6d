/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/racks.h"

struct thing {
    struct racked racked;
    int number;
};

static void put(struct racks *racks, struct thing *thing, const char *name)
{
    assert_int_equal(racks_put(racks, &thing->racked, text_of(name)), 0);
}

static void test_a_rack_is_there_as_long_as_anything_is_on_it(void **state)
{
    struct racks racks = {0};
    struct thing one = {.number = 1};
    struct thing two = {.number = 2};
    (void)state;
    assert_null(racks_find(&racks, text_of("a/")));
    put(&racks, &one, "a/");
    put(&racks, &two, "a/");
    const struct rack *rack = racks_find(&racks, text_of("a/"));
    assert_non_null(rack);
    assert_ptr_equal(one.racked.rack, two.racked.rack);
    int sum = 0;
    list_for_each (link, &rack->things)
        sum += container_of(link, struct thing, racked.link)->number;
    assert_int_equal(sum, 3);
    racks_take(&racks, &one.racked);
    assert_non_null(racks_find(&racks, text_of("a/")));
    racks_take(&racks, &two.racked);
    assert_null(racks_find(&racks, text_of("a/")));
    assert_null(racks.table);
    racks_take(&racks, &two.racked);
}

/* Of `path`: what the racks above it are named, shortest first. */
static void check_above(const struct racks *racks, const char *path, const char *expected)
{
    char found[64] = "";
    const struct rack *rack;
    size_t at = 0;
    while ((rack = racks_find_above(racks, text_of(path), &at))) {
        strncat(found, rack->name, rack->hh.keylen);
        strcat(found, " ");
    }
    assert_string_equal(found, expected);
}

static void test_racks_above_a_path_are_those_of_its_beginnings(void **state)
{
    static const char *const names[] = {"a/", "a/b/", "a/b/c/", "ab/", "b/"};
    struct racks racks = {0};
    struct thing things[5] = {0};
    (void)state;
    check_above(&racks, "a/b", "");
    for (size_t i = 0; i < 5; i++)
        put(&racks, &things[i], names[i]);
    check_above(&racks, "a/b/c/d", "a/ a/b/ a/b/c/ ");
    check_above(&racks, "a/b/c", "a/ a/b/ ");
    check_above(&racks, "a/b/", "a/ ");
    check_above(&racks, "a/x/c/d", "a/ ");
    check_above(&racks, "ab/b", "ab/ ");
    check_above(&racks, "a", "");
    check_above(&racks, "", "");
    check_above(&racks, "c/a/b", "");
    for (size_t i = 0; i < 5; i++)
        racks_take(&racks, &things[i].racked);
}

static int begin(void **state)
{
    (void)state;
    table_key_init();
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_a_rack_is_there_as_long_as_anything_is_on_it, begin),
    cmocka_unit_test_setup(test_racks_above_a_path_are_those_of_its_beginnings, begin),
};
UNIT_MAIN(tests)
