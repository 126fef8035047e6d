/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/container.h"
#include "base/mailbox.h"

#define SENDERS 4u
#define LETTERS 20000u

struct numbered {
    struct letter letter;
    unsigned sender;
    unsigned number;
};

static struct mailbox mailbox;
static unsigned next_of[SENDERS];
static unsigned out_of_order;
static unsigned delivered;

static void numbered_deliver(struct letter *letter)
{
    struct numbered *numbered = container_of(letter, struct numbered, letter);
    if (numbered->number != next_of[numbered->sender]++)
        out_of_order++;
    delivered++;
    free(numbered);
}

static void *send_all(void *argument)
{
    unsigned sender = *(unsigned *)argument;
    for (unsigned i = 0; i < LETTERS; i++) {
        struct numbered *numbered = malloc(sizeof(*numbered));
        if (!numbered)
            abort();
        *numbered = (struct numbered){.letter.deliver = numbered_deliver, .sender = sender, .number = i};
        mailbox_post(&mailbox, &numbered->letter);
    }
    return NULL;
}

static void test_mailbox_delivers_all_in_each_senders_order(void **state)
{
    pthread_t threads[SENDERS];
    unsigned numbers[SENDERS];
    (void)state;
    assert_int_equal(mailbox_init(&mailbox), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &numbers[i]), 0);
    }
    while (delivered < SENDERS * LETTERS) {
        /* A wake-up that is lost would leave this waiting. */
        struct pollfd wait = {.fd = mailbox.wake_fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, 100000), 1);
        mailbox_acknowledge(&mailbox);
        mailbox_drain(&mailbox);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(out_of_order, 0);
    assert_false(mailbox_drain(&mailbox));
    mailbox_deinit(&mailbox);
}

static bool has_rung(void)
{
    struct pollfd wait = {.fd = mailbox.wake_fd, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

struct echo {
    struct letter letter;
    unsigned count;
};

static void echo_deliver(struct letter *letter)
{
    container_of(letter, struct echo, letter)->count++;
    mailbox_post(&mailbox, letter);
}

static void test_what_a_delivery_posts_waits_for_the_next_call(void **state)
{
    struct echo echo = {.letter.deliver = echo_deliver};
    (void)state;
    assert_int_equal(mailbox_init(&mailbox), 0);
    assert_false(has_rung());
    mailbox_post(&mailbox, &echo.letter);
    mailbox_acknowledge(&mailbox);
    assert_false(has_rung());
    assert_true(mailbox_drain(&mailbox));
    assert_int_equal(echo.count, 1);
    assert_true(has_rung());
    atomic_store(&mailbox.newest, NULL);
    mailbox_deinit(&mailbox);
}

static void count_deliver(struct letter *letter)
{
    container_of(letter, struct echo, letter)->count++;
}

static void test_what_is_left_at_the_end_is_delivered(void **state)
{
    struct echo echo = {.letter.deliver = count_deliver};
    (void)state;
    assert_int_equal(mailbox_init(&mailbox), 0);
    mailbox_post(&mailbox, &echo.letter);
    mailbox_deinit(&mailbox);
    assert_int_equal(echo.count, 1);
}

static void *post_to_own(void *argument)
{
    mailbox_own(&mailbox);
    mailbox_post(&mailbox, argument);
    return NULL;
}

static void count_delivery(struct letter *letter)
{
    (void)letter;
    delivered++;
}

static void test_nobody_rings_for_his_own_mailbox_or_while_a_lock_is_held(void **state)
{
    struct letter letters[] = {{.deliver = count_delivery}, {.deliver = count_delivery}};
    pthread_t thread;
    (void)state;
    delivered = 0;
    assert_int_equal(mailbox_init(&mailbox), 0);
    assert_true(mailbox_is_empty(&mailbox));
    assert_int_equal(pthread_create(&thread, NULL, post_to_own, &letters[0]), 0);
    pthread_join(thread, NULL);
    assert_false(has_rung());
    assert_false(mailbox_is_empty(&mailbox));
    assert_true(mailbox_drain(&mailbox));
    assert_true(mailbox_is_empty(&mailbox));
    mailbox_hold_rings();
    mailbox_post(&mailbox, &letters[1]);
    assert_false(has_rung());
    mailbox_ring_held();
    assert_true(has_rung());
    mailbox_deinit(&mailbox);
    assert_int_equal(delivered, 2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_nobody_rings_for_his_own_mailbox_or_while_a_lock_is_held),
    cmocka_unit_test(test_what_a_delivery_posts_waits_for_the_next_call),
    cmocka_unit_test(test_what_is_left_at_the_end_is_delivered),
    cmocka_unit_test(test_mailbox_delivers_all_in_each_senders_order),
};
UNIT_MAIN(tests)
