/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"

static int begin(void **state)
{
    (void)state;
    return random_init();
}

static void *take_one(void *argument)
{
    *(uint64_t *)argument = random_next();
    return NULL;
}

static void test_threads_have_numbers_of_their_own(void **state)
{
    pthread_t thread;
    uint64_t other;
    (void)state;
    uint64_t before = random_next();
    assert_int_equal(pthread_create(&thread, NULL, take_one, &other), 0);
    pthread_join(thread, NULL);
    assert_true(other != before && other != random_next());
}

static void test_a_child_does_not_go_on_with_its_parents_numbers(void **state)
{
    int ends[2];
    uint64_t childs;
    (void)state;
    (void)random_next();
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        childs = random_next();
        _exit(write(ends[1], &childs, sizeof(childs)) != sizeof(childs));
    }
    assert_int_equal(read(ends[0], &childs, sizeof(childs)), sizeof(childs));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(childs != random_next());
    close(ends[0]);
    close(ends[1]);
}

static void test_numbers_are_below_what_is_asked(void **state)
{
    unsigned counts[5] = {0};
    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        counts[random_below(5)]++;
    for (unsigned i = 0; i < 5; i++)
        assert_in_range(counts[i], 800, 1200);
    assert_int_equal(random_below(0), 0);
    assert_int_equal(random_below(1), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_in_range(random_jitter(10), 10, 20);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_threads_have_numbers_of_their_own, begin),
    cmocka_unit_test(test_a_child_does_not_go_on_with_its_parents_numbers),
    cmocka_unit_test(test_numbers_are_below_what_is_asked),
};
UNIT_MAIN(tests)
