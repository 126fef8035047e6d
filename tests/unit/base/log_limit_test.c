/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/log_limit.h"

#define THREADS 4
#define ASKED_BY_EACH 5000

static unsigned admit_many(struct log_limit *limit, const char *event, unsigned times, uint64_t now_ms)
{
    unsigned admitted = 0;
    for (unsigned i = 0; i < times; i++)
        admitted += log_limit_admit(limit, event, 2, now_ms);
    return admitted;
}

static void test_a_burst_passes_and_the_rest_is_counted(void **state)
{
    struct log_limit limit = {.slots = {{.event = NULL}}};
    struct log_left_out left_out;
    unsigned at = 0;
    (void)state;
    assert_int_equal(admit_many(&limit, "lost", 1000, 50000), LOG_BURST);
    assert_false(log_limit_collect(&limit, 50000 + LOG_WINDOW_MS - 1, false, &at, &left_out));
    at = 0;
    assert_true(log_limit_collect(&limit, 50000 + LOG_WINDOW_MS, false, &at, &left_out));
    assert_string_equal(left_out.event, "lost");
    assert_int_equal(left_out.count, 1000 - LOG_BURST);
    assert_int_equal(left_out.level, 2);
    assert_false(log_limit_collect(&limit, 50000 + LOG_WINDOW_MS, false, &at, &left_out));
    assert_int_equal(admit_many(&limit, "lost", 1000, 50000 + LOG_WINDOW_MS), LOG_BURST);
}

static void test_a_window_without_excess_begins_anew(void **state)
{
    struct log_limit limit = {.slots = {{.event = NULL}}};
    (void)state;
    assert_int_equal(admit_many(&limit, "lost", LOG_BURST, 50000), LOG_BURST);
    assert_int_equal(admit_many(&limit, "lost", LOG_BURST, 50000 + LOG_WINDOW_MS), LOG_BURST);
}

static void test_the_last_collection_does_not_wait_for_the_window(void **state)
{
    struct log_limit limit = {.slots = {{.event = NULL}}};
    struct log_left_out left_out;
    unsigned at = 0;
    (void)state;
    admit_many(&limit, "lost", LOG_BURST + 3, 50000);
    assert_true(log_limit_collect(&limit, 50001, true, &at, &left_out));
    assert_int_equal(left_out.count, 3);
}

static void test_a_thread_with_an_older_clock_begins_no_window(void **state)
{
    struct log_limit limit = {.slots = {{.event = NULL}}};
    (void)state;
    assert_int_equal(admit_many(&limit, "lost", LOG_BURST, 50000), LOG_BURST);
    assert_int_equal(admit_many(&limit, "lost", 5, 49990), 0);
}

static void test_events_do_not_share_a_limit(void **state)
{
    static char names[LOG_LIMIT_SLOTS][16];
    struct log_limit limit = {.slots = {{.event = NULL}}};
    (void)state;
    for (unsigned i = 0; i < LOG_LIMIT_SLOTS; i++) {
        snprintf(names[i], sizeof(names[i]), "event-%u", i);
        assert_int_equal(admit_many(&limit, names[i], LOG_BURST + 5, 50000), LOG_BURST);
    }
    char same_text[] = "event-7";
    assert_int_equal(admit_many(&limit, same_text, 1, 50000), 0);
    /* The table is full: one more shares a limit that is used up, and must end. */
    assert_int_equal(admit_many(&limit, "one-too-many", 1, 50000), 0);
}

static struct log_limit shared;
static _Atomic unsigned admitted_by_all;

static void *ask(void *argument)
{
    (void)argument;
    atomic_fetch_add(&admitted_by_all, admit_many(&shared, "storm", ASKED_BY_EACH, 50000));
    return NULL;
}

static void test_threads_together_pass_one_burst_and_lose_no_count(void **state)
{
    pthread_t threads[THREADS];
    struct log_left_out left_out;
    unsigned at = 0;
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(admitted_by_all, LOG_BURST);
    assert_true(log_limit_collect(&shared, 50000, true, &at, &left_out));
    assert_int_equal(left_out.count, THREADS * ASKED_BY_EACH - LOG_BURST);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_burst_passes_and_the_rest_is_counted),
    cmocka_unit_test(test_a_window_without_excess_begins_anew),
    cmocka_unit_test(test_the_last_collection_does_not_wait_for_the_window),
    cmocka_unit_test(test_a_thread_with_an_older_clock_begins_no_window),
    cmocka_unit_test(test_events_do_not_share_a_limit),
    cmocka_unit_test(test_threads_together_pass_one_burst_and_lose_no_count),
};
UNIT_MAIN(tests)
