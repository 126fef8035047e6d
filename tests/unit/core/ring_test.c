/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "core/ring.h"

static struct message *message_at(uint64_t offset, uint64_t expires_ms, uint64_t ttl_ms)
{
    const struct message_parts parts = {.data = "0123456789", .size = 10, .ttl_ms = ttl_ms};
    struct message *message = message_new(&parts);
    message->offset = offset;
    message->expires_ms = expires_ms;
    return message;
}

static void fill(struct ring *ring, uint64_t from, uint64_t to)
{
    ring_init(ring);
    for (uint64_t offset = from; offset <= to; offset++)
        assert_int_equal(ring_append(ring, message_at(offset, 1000 + offset, 0)), 0);
}

static void test_ring_keeps_order_over_growth_and_wrap(void **state)
{
    struct ring ring;
    (void)state;
    fill(&ring, 1, 3);
    for (uint64_t offset = 4; offset <= 300; offset++) {
        ring_drop_oldest(&ring);
        assert_int_equal(ring_append(&ring, message_at(offset, 0, 0)), 0);
        if (offset % 50 == 0)
            assert_int_equal(ring_append(&ring, message_at(++offset, 0, 0)), 0);
    }
    for (size_t i = 1; i < ring.count; i++)
        assert_true(ring_at(&ring, i)->offset == ring_at(&ring, i - 1)->offset + 1);
    ring_deinit(&ring);
}

static void test_ring_trims_by_count(void **state)
{
    struct ring ring;
    (void)state;
    fill(&ring, 1, 10);
    const struct retention retention = {4, UINT64_MAX, 0};
    assert_int_equal(ring_trim(&ring, &retention), 6);
    assert_int_equal(ring_at(&ring, 0)->offset, 7);
    ring_deinit(&ring);
}

static void test_ring_trims_by_bytes(void **state)
{
    struct ring ring;
    (void)state;
    fill(&ring, 1, 10);
    const struct retention retention = {100, ring.bytes / 10 * 3 + 1, 0};
    assert_int_equal(ring_trim(&ring, &retention), 7);
    assert_int_equal(ring.count, 3);
    const struct retention less_than_one = {100, 1, 0};
    assert_int_equal(ring_trim(&ring, &less_than_one), 2);
    assert_int_equal(ring_at(&ring, 0)->offset, 10);
    const struct retention nothing = {100, 0, 0};
    ring_trim(&ring, &nothing);
    assert_int_equal(ring.count, 0);
    assert_int_equal(ring.bytes, 0);
    ring_deinit(&ring);
}

static void test_ring_expires_from_the_front(void **state)
{
    struct ring ring;
    (void)state;
    fill(&ring, 1, 10);
    assert_int_equal(ring_next_expiry_ms(&ring), 1001);
    assert_int_equal(ring_expire(&ring, 1003), 3);
    assert_int_equal(ring_at(&ring, 0)->offset, 4);
    assert_int_equal(ring_expire(&ring, 5000), 7);
    assert_true(ring_next_expiry_ms(&ring) == UINT64_MAX);
    ring_deinit(&ring);
}

static void test_ring_expires_between_others(void **state)
{
    struct ring ring;
    (void)state;
    ring_init(&ring);
    ring_append(&ring, message_at(1, 5000, 0));
    ring_append(&ring, message_at(2, 2000, 1));
    ring_append(&ring, message_at(3, 6000, 0));
    assert_int_equal(ring_next_expiry_ms(&ring), 2000);
    uint64_t bytes = ring.bytes;
    assert_int_equal(ring_expire(&ring, 2000), 1);
    assert_int_equal(ring.bytes, bytes - bytes / 3);
    assert_int_equal(ring_next_expiry_ms(&ring), 5000);
    assert_int_equal(ring.count, 2);
    assert_int_equal(ring_at(&ring, 1)->offset, 3);
    ring_deinit(&ring);
}

static void test_a_large_ring_closes_its_holes_less_often(void **state)
{
    struct ring ring;
    struct ring copy;
    (void)state;
    ring_init(&ring);
    ring_init(&copy);
    ring_append(&ring, message_at(1, 5000000, 0));
    for (uint64_t offset = 2; offset <= 2561; offset++)
        ring_append(&ring, message_at(offset, 1000 + offset, 1));
    assert_int_equal(ring_next_expiry_ms(&ring), 1002);
    assert_int_equal(ring_expire(&ring, 1002), 1);
    assert_int_equal(ring_next_expiry_ms(&ring), 1002 + 10);
    assert_int_equal(ring_expire(&ring, 1011), 0);
    /* Nobody is given what has expired meanwhile. */
    assert_int_equal(ring_copy(&copy, &ring, 0, 20, 1011), 0);
    assert_int_equal(copy.count, 11);
    assert_int_equal(ring_at(&copy, 1)->offset, 12);
    assert_int_equal(ring_expire(&ring, 1012), 10);
    ring_deinit(&copy);
    ring_deinit(&ring);
}

static void test_the_shortest_life_is_over_first(void **state)
{
    struct ring ring;
    (void)state;
    ring_init(&ring);
    ring_append(&ring, message_at(1, 9000, 0));
    ring_append(&ring, message_at(2, 5000, 1));
    ring_append(&ring, message_at(3, 2000, 1));
    ring_append(&ring, message_at(4, 3000, 1));
    assert_int_equal(ring_next_expiry_ms(&ring), 2000);
    assert_int_equal(ring_expire(&ring, 2000), 1);
    assert_int_equal(ring_next_expiry_ms(&ring), 3000);
    ring_deinit(&ring);
}

static void test_the_oldest_goes_at_once_whatever_its_life(void **state)
{
    struct ring ring;
    (void)state;
    ring_init(&ring);
    for (uint64_t offset = 1; offset <= 3000; offset++)
        ring_append(&ring, message_at(offset, 1000 + offset, 1));
    assert_int_equal(ring_expire(&ring, 1001), 1);
    assert_int_equal(ring_next_expiry_ms(&ring), 1002);
    assert_int_equal(ring_expire(&ring, 1003), 2);
    ring_deinit(&ring);
}

static void test_a_life_that_is_over_with_its_message_wakes_nobody_twice(void **state)
{
    struct ring ring;
    const struct retention one = {1, UINT64_MAX, 0};
    (void)state;
    ring_init(&ring);
    ring_append(&ring, message_at(1, 2000, 1));
    ring_append(&ring, message_at(2, 9000, 0));
    ring_trim(&ring, &one);
    assert_int_equal(ring_expire(&ring, 2000), 0);
    assert_int_equal(ring_next_expiry_ms(&ring), 9000);
    ring_deinit(&ring);
}

static void test_ring_finds_also_in_holes(void **state)
{
    struct ring ring;
    (void)state;
    ring_init(&ring);
    assert_int_equal(ring_find(&ring, 1), 0);
    for (uint64_t offset = 10; offset <= 30; offset += 10)
        ring_append(&ring, message_at(offset, 0, 0));
    assert_int_equal(ring_find(&ring, 1), 0);
    assert_int_equal(ring_find(&ring, 10), 0);
    assert_int_equal(ring_find(&ring, 11), 1);
    assert_int_equal(ring_find(&ring, 30), 2);
    assert_int_equal(ring_find(&ring, 31), 3);
    ring_deinit(&ring);
}

static void test_ring_gives_all_memory_back(void **state)
{
    struct ring ring;
    (void)state;
    uint64_t before = message_memory_bytes();
    fill(&ring, 1, 100);
    assert_true(message_memory_bytes() > before + 1000);
    ring_deinit(&ring);
    assert_int_equal(message_memory_bytes(), before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_ring_keeps_order_over_growth_and_wrap),
    cmocka_unit_test(test_ring_trims_by_count),
    cmocka_unit_test(test_ring_trims_by_bytes),
    cmocka_unit_test(test_ring_expires_from_the_front),
    cmocka_unit_test(test_ring_expires_between_others),
    cmocka_unit_test(test_a_large_ring_closes_its_holes_less_often),
    cmocka_unit_test(test_the_shortest_life_is_over_first),
    cmocka_unit_test(test_the_oldest_goes_at_once_whatever_its_life),
    cmocka_unit_test(test_a_life_that_is_over_with_its_message_wakes_nobody_twice),
    cmocka_unit_test(test_ring_finds_also_in_holes),
    cmocka_unit_test(test_ring_gives_all_memory_back),
};
UNIT_MAIN(tests)
