/* SPDX-License-Identifier: MIT */
/* Messages by offset: what is put, found and removed, whatever the size of the blocks. */

#include "unit.h"

#include <errno.h>

#include "broker/memory/shelf.h"
#include "failing.h"

#define MOST 1000u

static struct message messages[MOST + 1]; /* by offset */
static struct shelf shelf;
static uint64_t count;

static int begin(void **state)
{
    (void)state;
    shelf = (struct shelf){0};
    count = 0;
    for (uint64_t offset = 0; offset <= MOST; offset++)
        messages[offset].offset = offset;
    return 0;
}

static void put(uint64_t offset)
{
    assert_int_equal(shelf_reserve(&shelf, offset, count), 0);
    shelf_put(&shelf, &messages[offset]);
    count++;
}

static void take(uint64_t offset)
{
    shelf_remove(&shelf, &messages[offset]);
    count--;
}

static int end(void **state)
{
    struct message *first;
    (void)state;
    while ((first = shelf_first(&shelf)))
        shelf_remove(&shelf, first);
    return shelf.blocks || shelf.first || shelf.last;
}

static void test_all_are_found_by_offset_and_in_order(void **state)
{
    (void)state;
    for (uint64_t offset = 1; offset <= MOST; offset++)
        put(offset);
    assert_ptr_equal(shelf_first(&shelf), &messages[1]);
    assert_ptr_equal(shelf_find(&shelf, 0), &messages[1]);
    for (uint64_t offset = 1; offset <= MOST; offset++) {
        assert_ptr_equal(shelf_get(&shelf, offset), &messages[offset]);
        assert_ptr_equal(shelf_find(&shelf, offset), &messages[offset]);
    }
    assert_null(shelf_get(&shelf, 0));
    assert_null(shelf_get(&shelf, MOST + 1));
    assert_null(shelf_find(&shelf, MOST + 1));
}

static void test_an_empty_one_has_none(void **state)
{
    (void)state;
    assert_null(shelf_first(&shelf));
    assert_null(shelf_get(&shelf, 1));
    assert_null(shelf_find(&shelf, 1));
}

static void test_a_log_that_is_trimmed_keeps_the_newest(void **state)
{
    for (uint64_t kept = 1; kept <= 200; kept = kept * 3 + 1) {
        begin(state);
        for (uint64_t offset = 1; offset <= MOST; offset++) {
            put(offset);
            if (offset > kept)
                take(offset - kept);
            assert_int_equal(shelf_first(&shelf)->offset, offset > kept ? offset - kept + 1 : 1);
        }
        assert_null(shelf_get(&shelf, MOST - kept));
        assert_ptr_equal(shelf_find(&shelf, 1), &messages[MOST - kept + 1]);
        assert_int_equal(end(state), 0);
    }
}

/* Against a list of what is there. */
static void test_holes_are_passed_over(void **state)
{
    bool is_there[MOST + 1] = {false};
    uint64_t random = 7;
    (void)state;
    for (uint64_t offset = 1; offset <= MOST; offset++) {
        put(offset);
        is_there[offset] = true;
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t other = 1 + (random >> 33) % offset;
        if (is_there[other]) {
            take(other);
            is_there[other] = false;
        }
    }
    uint64_t next = MOST + 1;
    for (uint64_t offset = MOST; offset > 0; offset--) {
        next = is_there[offset] ? offset : next;
        assert_ptr_equal(shelf_get(&shelf, offset), is_there[offset] ? &messages[offset] : NULL);
        assert_ptr_equal(shelf_find(&shelf, offset), next <= MOST ? &messages[next] : NULL);
    }
    assert_ptr_equal(shelf_first(&shelf), &messages[next]);
}

static void test_room_that_is_not_used_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(shelf_reserve(&shelf, 1, 0), 0);
    assert_null(shelf_first(&shelf));
    assert_null(shelf_find(&shelf, 1));
    shelf_release(&shelf);
    assert_null(shelf.first);
    for (uint64_t offset = 1; offset <= 64; offset++) {
        assert_int_equal(shelf_reserve(&shelf, offset, count), 0);
        shelf_release(&shelf);
        put(offset);
        assert_null(shelf_find(&shelf, offset + 1));
    }
    assert_ptr_equal(shelf_get(&shelf, 64), &messages[64]);
}

static void test_what_is_reserved_can_be_put_when_memory_is_out(void **state)
{
    (void)state;
    for (uint64_t offset = 1; offset <= 200; offset++) {
        memory_is_out = true;
        int err = shelf_reserve(&shelf, offset, count);
        memory_is_out = false;
        assert_int_equal(shelf_reserve(&shelf, offset, count), 0);
        memory_is_out = true;
        assert_int_equal(shelf_reserve(&shelf, offset, count), 0);
        shelf_put(&shelf, &messages[offset]);
        memory_is_out = false;
        count++;
        assert_true(err == 0 || err == -ENOMEM);
        assert_ptr_equal(shelf_get(&shelf, offset), &messages[offset]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_all_are_found_by_offset_and_in_order),
    TEST(test_an_empty_one_has_none),
    TEST(test_a_log_that_is_trimmed_keeps_the_newest),
    TEST(test_holes_are_passed_over),
    TEST(test_room_that_is_not_used_leaves_nothing),
    TEST(test_what_is_reserved_can_be_put_when_memory_is_out),
};
UNIT_MAIN(tests)
