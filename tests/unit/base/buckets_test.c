/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/buckets.h"
#include "base/table.h"

#define SECOND_NS 1000000000u
#define BEGIN_NS (1000ull * SECOND_NS)

static struct buckets *buckets;

static int begin(void **state)
{
    (void)state;
    table_key_init();
    buckets = buckets_new();
    return buckets ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    buckets_free(buckets);
    return 0;
}

static uint64_t take(const char *key, const struct bucket_rate *rate, uint64_t now_ns)
{
    return buckets_take(buckets, key, strlen(key), rate, now_ns);
}

/* How many tokens there are at once. */
static unsigned drain(const char *key, const struct bucket_rate *rate, uint64_t now_ns)
{
    unsigned count = 0;
    while (take(key, rate, now_ns) == 0)
        count++;
    return count;
}

static void test_a_full_bucket_has_its_burst_and_then_one_token_at_a_time(void **state)
{
    const struct bucket_rate rate = {.per_second = 10, .burst_ms = 500};
    (void)state;
    assert_int_equal(drain("a", &rate, BEGIN_NS), 5);
    assert_int_equal(take("a", &rate, BEGIN_NS), SECOND_NS / 10);
    assert_int_equal(take("a", &rate, BEGIN_NS + SECOND_NS / 20), SECOND_NS / 20);
    assert_int_equal(drain("a", &rate, BEGIN_NS + SECOND_NS / 10), 1);
    assert_int_equal(drain("a", &rate, BEGIN_NS + 100ull * SECOND_NS), 5);
}

static void test_who_asks_for_several_tokens_takes_none(void **state)
{
    const struct bucket_rate rate = {.per_second = 10, .burst_ms = 500};
    (void)state;
    assert_int_equal(buckets_ask(buckets, "a", 1, &rate, 5, BEGIN_NS), 0);
    assert_int_equal(drain("a", &rate, BEGIN_NS), 5);
    assert_int_equal(buckets_ask(buckets, "a", 1, &rate, 1, BEGIN_NS), SECOND_NS / 10);
    assert_int_equal(buckets_ask(buckets, "a", 1, &rate, 3, BEGIN_NS), 3ull * SECOND_NS / 10);
    assert_int_equal(buckets_ask(buckets, "a", 1, &rate, 3, BEGIN_NS + 3ull * SECOND_NS / 10), 0);
    assert_int_equal(drain("a", &rate, BEGIN_NS + 3ull * SECOND_NS / 10), 3);
}

static void test_more_tokens_than_a_bucket_holds_are_never_there(void **state)
{
    const struct bucket_rate rate = {.per_second = 10, .burst_ms = 500};
    (void)state;
    assert_true(buckets_ask(buckets, "a", 1, &rate, 6, BEGIN_NS) == UINT64_MAX);
    assert_true(buckets_ask(buckets, "a", 1, &rate, UINT64_MAX, BEGIN_NS) == UINT64_MAX);
}

static void test_a_burst_of_less_than_a_token_is_one(void **state)
{
    const struct bucket_rate rate = {.per_second = 1, .burst_ms = 0};
    (void)state;
    assert_int_equal(drain("a", &rate, BEGIN_NS), 1);
    assert_int_equal(drain("a", &rate, BEGIN_NS + SECOND_NS), 1);
}

static void test_keys_have_buckets_of_their_own(void **state)
{
    const struct bucket_rate rate = {.per_second = 1, .burst_ms = 2000};
    (void)state;
    assert_int_equal(drain("a", &rate, BEGIN_NS), 2);
    assert_int_equal(drain("b", &rate, BEGIN_NS), 2);
    assert_int_equal(drain("", &rate, BEGIN_NS), 2);
}

static void test_a_clock_that_is_set_back_costs_one_token(void **state)
{
    const struct bucket_rate rate = {.per_second = 10, .burst_ms = 1000};
    (void)state;
    assert_int_equal(drain("a", &rate, BEGIN_NS), 10);
    uint64_t wait_ns = take("a", &rate, BEGIN_NS - 500ull * SECOND_NS);
    assert_int_equal(wait_ns, SECOND_NS / 10);
    assert_int_equal(take("a", &rate, BEGIN_NS - 500ull * SECOND_NS + wait_ns), 0);
}

static void test_a_clock_that_is_set_forward_fills_the_bucket_once(void **state)
{
    const struct bucket_rate rate = {.per_second = 10, .burst_ms = 1000};
    (void)state;
    assert_int_equal(drain("a", &rate, BEGIN_NS), 10);
    assert_int_equal(drain("a", &rate, UINT64_MAX / 2), 10);
    assert_true(take("a", &rate, UINT64_MAX / 2) > 0);
}

static void test_a_rate_that_is_raised_counts_at_once(void **state)
{
    const struct bucket_rate slow = {.per_second = 1, .burst_ms = 60000};
    const struct bucket_rate fast = {.per_second = 1000, .burst_ms = 1000};
    (void)state;
    assert_int_equal(drain("a", &slow, BEGIN_NS), 60);
    assert_int_equal(take("a", &fast, BEGIN_NS), SECOND_NS / 1000);
    assert_int_equal(take("a", &fast, BEGIN_NS + SECOND_NS / 1000), 0);
}

static void test_the_largest_numbers_do_no_harm(void **state)
{
    const struct bucket_rate rate = {.per_second = 1000000000u, .burst_ms = UINT64_MAX};
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(take("a", &rate, UINT64_MAX / 2), 0);
}

/* Whatever comes when: in no stretch of time does a key get more than the rate allows in it and a burst, and
 * while nobody else is there it gets no less. */
static void test_random_takers_get_what_the_rate_allows(void **state)
{
    uint64_t seed = 7;
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const struct bucket_rate rate = {.per_second = 1 + (seed >> 33) % 1000,
                                         .burst_ms = (seed >> 20) % 3000};
        const uint64_t token_ns = SECOND_NS / rate.per_second;
        const uint64_t burst =
            rate.burst_ms * 1000000u / token_ns > 1 ? rate.burst_ms * 1000000u / token_ns : 1;
        char key[32];
        uint64_t now_ns = BEGIN_NS;
        uint64_t taken = 0;
        snprintf(key, sizeof(key), "key %u", round);
        for (unsigned i = 0; i < 2000; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            now_ns += (seed >> 33) % (2 * token_ns);
            uint64_t wait_ns = take(key, &rate, now_ns);
            taken += wait_ns == 0;
            assert_true(wait_ns <= token_ns);
            assert_true(taken <= burst + (now_ns - BEGIN_NS) / token_ns + 1);
            if (wait_ns > 0) {
                now_ns += wait_ns;
                assert_int_equal(take(key, &rate, now_ns), 0);
                taken++;
            }
        }
    }
}

static void test_a_crowd_of_others_takes_little_from_a_key(void **state)
{
    const struct bucket_rate rate = {.per_second = 10, .burst_ms = 1000};
    char key[32];
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "other %u", i);
        (void)drain(key, &rate, BEGIN_NS);
    }
    unsigned served = 0;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "own %u", i);
        served += drain(key, &rate, BEGIN_NS) == 10;
    }
    /* Both cells of a key are used with a chance of (20/65)², about 7%, growing while we measure. */
    assert_true(served > 800);
}

#define THREADS 4u

static _Atomic unsigned got;

static void *take_all(void *argument)
{
    const struct bucket_rate *rate = argument;
    for (unsigned i = 0; i < 50000; i++)
        if (take("shared", rate, BEGIN_NS) == 0)
            got++;
    return NULL;
}

static void test_threads_share_a_bucket(void **state)
{
    struct bucket_rate rate = {.per_second = 1000, .burst_ms = 100000};
    pthread_t threads[THREADS];
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &rate), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(got >= 100000);
    /* Those who race for one token may each get one. */
    assert_true(got < 150000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_a_full_bucket_has_its_burst_and_then_one_token_at_a_time),
    TEST(test_who_asks_for_several_tokens_takes_none),
    TEST(test_more_tokens_than_a_bucket_holds_are_never_there),
    TEST(test_a_burst_of_less_than_a_token_is_one),
    TEST(test_keys_have_buckets_of_their_own),
    TEST(test_a_clock_that_is_set_back_costs_one_token),
    TEST(test_a_clock_that_is_set_forward_fills_the_bucket_once),
    TEST(test_a_rate_that_is_raised_counts_at_once),
    TEST(test_the_largest_numbers_do_no_harm),
    TEST(test_random_takers_get_what_the_rate_allows),
    TEST(test_a_crowd_of_others_takes_little_from_a_key),
    TEST(test_threads_share_a_bucket),
};
UNIT_MAIN(tests)
