/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/list.h"

static struct list head;
static struct list links[5];

static int begin(void **state)
{
    (void)state;
    list_init(&head);
    for (unsigned i = 0; i < 5; i++)
        list_init(&links[i]);
    return 0;
}

/* The links in the list, as digits, from both ends. */
static void expect(const struct list *list, const char *digits)
{
    const char *at = digits;
    for (const struct list *link = list->next; link != list; link = link->next)
        assert_int_equal(link - links, *at++ - '0');
    assert_int_equal(*at, '\0');
    for (const struct list *link = list->previous; link != list; link = link->previous)
        assert_int_equal(link - links, *--at - '0');
    assert_ptr_equal(at, digits);
}

static void test_links_stand_where_they_were_put(void **state)
{
    (void)state;
    assert_null(list_first(&head));
    list_append(&head, &links[1]);
    list_append(&head, &links[2]);
    list_prepend(&head, &links[0]);
    expect(&head, "012");
    assert_ptr_equal(list_first(&head), &links[0]);
    list_append(&links[2], &links[4]);
    expect(&head, "0142");
}

static void test_a_link_may_be_removed_twice(void **state)
{
    (void)state;
    list_append(&head, &links[0]);
    list_append(&head, &links[1]);
    list_remove(&links[0]);
    assert_true(list_is_empty(&links[0]));
    list_remove(&links[0]);
    expect(&head, "1");
}

static void test_a_splice_goes_to_the_end_and_leaves_nothing(void **state)
{
    struct list other;
    (void)state;
    list_init(&other);
    list_splice(&head, &other);
    assert_true(list_is_empty(&head));
    list_append(&head, &links[0]);
    list_append(&other, &links[1]);
    list_append(&other, &links[2]);
    list_splice(&head, &other);
    expect(&head, "012");
    assert_true(list_is_empty(&other));
}

static void test_a_safe_walk_may_remove_each_link(void **state)
{
    unsigned seen = 0;
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        list_append(&head, &links[i]);
    list_for_each_safe (link, &head) {
        list_remove(link);
        seen++;
    }
    assert_int_equal(seen, 5);
    assert_true(list_is_empty(&head));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_links_stand_where_they_were_put, begin),
    cmocka_unit_test_setup(test_a_link_may_be_removed_twice, begin),
    cmocka_unit_test_setup(test_a_splice_goes_to_the_end_and_leaves_nothing, begin),
    cmocka_unit_test_setup(test_a_safe_walk_may_remove_each_link, begin),
};
UNIT_MAIN(tests)
