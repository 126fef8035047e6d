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
        assert_int_equal(poll(&wait, 1, 10000), 1);
        mailbox_acknowledge(&mailbox);
        mailbox_drain(&mailbox);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(out_of_order, 0);
    assert_false(mailbox_drain(&mailbox));
    mailbox_deinit(&mailbox);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_mailbox_delivers_all_in_each_senders_order),
};
UNIT_MAIN(tests)
