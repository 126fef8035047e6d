/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/timer.h"

struct probe {
    struct timer timer;
    uint64_t due_ms;
    unsigned fired;
};

static uint64_t now_ms;
static unsigned early;
static uint64_t latest_ms;

static void probe_fired(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    probe->fired++;
    if (now_ms < probe->due_ms)
        early++;
    if (now_ms - probe->due_ms > latest_ms)
        latest_ms = now_ms - probe->due_ms;
}

static void test_timers_fire_once_in_time_and_never_early(void **state)
{
    static struct probe probes[2000];
    struct timer_wheel wheel;
    uint64_t seed = 1;
    (void)state;
    now_ms = 123457;
    timer_wheel_init(&wheel, now_ms);
    for (unsigned i = 0; i < 2000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        probes[i] = (struct probe){.due_ms = now_ms + (seed >> 33) % (i % 10 == 0 ? 5000000 : 20000)};
        timer_init(&probes[i].timer, probe_fired);
        timer_arm(&wheel, &probes[i].timer, probes[i].due_ms);
    }
    /* As a loop does: waits as long as it may, then runs. */
    for (unsigned turns = 0; wheel.count > 0 && turns < 1000000; turns++) {
        now_ms += timer_wheel_wait_ms(&wheel, now_ms, 1000);
        timer_wheel_run(&wheel, now_ms);
    }
    assert_int_equal(wheel.count, 0);
    assert_int_equal(early, 0);
    assert_true(latest_ms <= 2 * TIMER_TICK_MS);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(probes[i].fired, 1);
}

static void test_stopped_timers_do_not_fire(void **state)
{
    struct timer_wheel wheel;
    struct probe probe = {.due_ms = 1100};
    (void)state;
    timer_wheel_init(&wheel, 1000);
    timer_init(&probe.timer, probe_fired);
    timer_arm(&wheel, &probe.timer, 1100);
    timer_arm(&wheel, &probe.timer, 1200);
    assert_int_equal(wheel.count, 1);
    timer_stop(&wheel, &probe.timer);
    timer_stop(&wheel, &probe.timer);
    now_ms = 2000;
    timer_wheel_run(&wheel, now_ms);
    assert_int_equal(probe.fired, 0);
    assert_int_equal(wheel.count, 0);
}

static struct timer_wheel *again_wheel;

static void again_fired(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    probe->fired++;
    timer_arm(again_wheel, timer, now_ms);
}

static void test_a_timer_that_arms_itself_for_now_does_not_keep_the_loop(void **state)
{
    struct timer_wheel wheel;
    struct probe probe = {0};
    (void)state;
    again_wheel = &wheel;
    now_ms = 1000;
    timer_wheel_init(&wheel, now_ms);
    timer_init(&probe.timer, again_fired);
    timer_arm(&wheel, &probe.timer, now_ms);
    timer_wheel_run(&wheel, now_ms);
    assert_int_equal(probe.fired, 1);
    now_ms += TIMER_TICK_MS;
    timer_wheel_run(&wheel, now_ms);
    assert_int_equal(probe.fired, 2);
}

static void test_a_time_beyond_the_span_comes_at_its_end(void **state)
{
    const uint64_t span_ms = ((1ull << 30) - 1) * TIMER_TICK_MS;
    struct timer_wheel wheel;
    struct probe probe = {0};
    (void)state;
    timer_wheel_init(&wheel, 0);
    timer_init(&probe.timer, probe_fired);
    timer_arm(&wheel, &probe.timer, UINT64_MAX);
    assert_true(timer_is_armed(&probe.timer));
    assert_int_equal(probe.timer.due_tick * TIMER_TICK_MS, span_ms);
}

static void test_timers_at_the_edges_of_levels_fire_in_their_tick(void **state)
{
    const uint64_t edges[] = {64, 64 * 64, 64 * 64 * 64};
    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        struct timer_wheel wheel;
        struct probe probe = {0};
        uint64_t begin_tick = 1000 + i * 7;
        uint64_t due_tick = begin_tick + edges[i / 3] - 1 + i % 3;
        timer_wheel_init(&wheel, begin_tick * TIMER_TICK_MS);
        timer_init(&probe.timer, probe_fired);
        timer_arm(&wheel, &probe.timer, due_tick * TIMER_TICK_MS);
        timer_wheel_run(&wheel, due_tick * TIMER_TICK_MS - 1);
        assert_int_equal(probe.fired, 0);
        timer_wheel_run(&wheel, due_tick * TIMER_TICK_MS);
        assert_int_equal(probe.fired, 1);
    }
}

static void test_a_time_that_is_past_comes_with_the_next_run(void **state)
{
    struct timer_wheel wheel;
    struct probe probe = {0};
    (void)state;
    now_ms = 1000;
    timer_wheel_init(&wheel, now_ms);
    timer_init(&probe.timer, probe_fired);
    timer_arm(&wheel, &probe.timer, 3);
    assert_int_equal(timer_wheel_wait_ms(&wheel, now_ms, 500), 0);
    timer_wheel_run(&wheel, now_ms);
    assert_int_equal(probe.fired, 1);
    assert_false(timer_is_armed(&probe.timer));
}

static void test_the_wait_is_bounded_and_ends_in_time(void **state)
{
    struct timer_wheel wheel;
    struct probe probe = {0};
    (void)state;
    timer_wheel_init(&wheel, 1000);
    assert_int_equal(timer_wheel_wait_ms(&wheel, 1000, 777), 777);
    timer_init(&probe.timer, probe_fired);
    timer_arm(&wheel, &probe.timer, 1101);
    assert_int_equal(timer_wheel_wait_ms(&wheel, 1000, 10), 10);
    now_ms = 1000;
    while (probe.fired == 0) {
        now_ms += timer_wheel_wait_ms(&wheel, now_ms, 1000);
        timer_wheel_run(&wheel, now_ms);
    }
    assert_in_range(now_ms, 1101, 1101 + TIMER_TICK_MS);
}

static struct probe neighbours[3];

static void stopper_fired(struct timer *timer)
{
    probe_fired(timer);
    for (unsigned i = 0; i < 3; i++)
        timer_stop(again_wheel, &neighbours[i].timer);
}

static void test_a_timer_may_stop_those_that_are_due_with_it(void **state)
{
    struct timer_wheel wheel;
    (void)state;
    again_wheel = &wheel;
    now_ms = 1000;
    timer_wheel_init(&wheel, now_ms);
    for (unsigned i = 0; i < 3; i++) {
        neighbours[i] = (struct probe){0};
        timer_init(&neighbours[i].timer, stopper_fired);
        timer_arm(&wheel, &neighbours[i].timer, now_ms);
    }
    timer_wheel_run(&wheel, now_ms);
    assert_int_equal(neighbours[0].fired + neighbours[1].fired + neighbours[2].fired, 1);
    assert_int_equal(wheel.count, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_timers_fire_once_in_time_and_never_early),
    cmocka_unit_test(test_stopped_timers_do_not_fire),
    cmocka_unit_test(test_a_timer_that_arms_itself_for_now_does_not_keep_the_loop),
    cmocka_unit_test(test_timers_at_the_edges_of_levels_fire_in_their_tick),
    cmocka_unit_test(test_a_time_beyond_the_span_comes_at_its_end),
    cmocka_unit_test(test_a_time_that_is_past_comes_with_the_next_run),
    cmocka_unit_test(test_the_wait_is_bounded_and_ends_in_time),
    cmocka_unit_test(test_a_timer_may_stop_those_that_are_due_with_it),
};
UNIT_MAIN(tests)
