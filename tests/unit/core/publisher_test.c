/* SPDX-License-Identifier: MIT */
/* A publisher with a broker of the test's own. */

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "core/publisher.h"

#define ASKED_MAX (PUBLISHER_COUNT_MAX + 8u)

static struct broker_request *asked[ASKED_MAX];
static unsigned asked_count;
static bool is_near; /* the broker answers in the call */
static struct hub hub;
static struct publisher publisher;
static char said[64 * ASKED_MAX]; /* what was answered, one a line */
static unsigned ready_count;

static void accept_publish(struct broker_request *request)
{
    struct publish_request *publish = container_of(request, struct publish_request, super);
    publish->items[0].offset = ++asked_count;
}

static bool fake_submit(struct broker *broker, struct broker_request *request)
{
    (void)broker;
    assert_int_equal(request->operation, BROKER_PUBLISH);
    assert_true(asked_count < ASKED_MAX);
    asked[asked_count] = request;
    accept_publish(request);
    return is_near;
}

static const struct broker_ops fake_ops = {.scheme = "fake", .submit = fake_submit};
static struct broker fake = {.ops = &fake_ops};

static void answered(struct publisher *which, const struct publisher_answer *answer)
{
    char line[32];
    assert_ptr_equal(which, &publisher);
    if (answer->error == ERROR_NONE)
        snprintf(line, sizeof(line), "%llu\n", (unsigned long long)answer->item->offset);
    else
        snprintf(line, sizeof(line), "%s\n", error_name(answer->error));
    assert_int_equal(answer->error == ERROR_NONE, answer->fault == NULL);
    strcat(said, line);
}

static void ready(struct publisher *which)
{
    assert_ptr_equal(which, &publisher);
    ready_count++;
}

static const struct publisher_ops ops = {.answered = answered, .ready = ready};

static int begin(void **state)
{
    (void)state;
    hub = (struct hub){.broker = &fake};
    asked_count = 0;
    is_near = false;
    said[0] = '\0';
    ready_count = 0;
    publisher_init(&publisher, &hub, &ops);
    return 0;
}

static void publish(const char *data, size_t len)
{
    const struct publish_wish wish = {
        .parts = {.type = MESSAGE_TEXT, .data = data, .size = len}, .channel = {"a", 1}, .is_checked = true};
    publisher_submit(&publisher, &wish, 4u << 20);
}

static void answer(unsigned index, enum error_code error)
{
    asked[index]->error = error;
    hub_answered(asked[index]);
}

static void test_answers_come_in_the_order_of_the_publishes(void **state)
{
    (void)state;
    publish("x", 1);
    publish("y", 1);
    publish("z", 1);
    answer(2, ERROR_NONE);
    answer(1, ERROR_BROKER_FULL);
    assert_string_equal(said, "");
    answer(0, ERROR_NONE);
    assert_string_equal(said, "1\nbroker-full\n3\n");
    assert_int_equal(publisher.count, 0);
    assert_int_equal(publisher.bytes, 0);
}

static void test_what_is_wrong_is_answered_in_its_turn(void **state)
{
    const struct publish_wish wish = {.parts = {.type = MESSAGE_TEXT, .data = "\xff", .size = 1},
                                      .channel = {"a", 1}};
    (void)state;
    publish("x", 1);
    publisher_submit(&publisher, &wish, 10);
    assert_string_equal(said, "");
    answer(0, ERROR_NONE);
    assert_string_equal(said, "1\nbad-text\n");
}

static void test_a_broker_may_answer_in_the_call(void **state)
{
    (void)state;
    is_near = true;
    publish("x", 1);
    publish("y", 1);
    assert_string_equal(said, "1\n2\n");
}

static void test_what_is_on_its_way_is_bounded_by_number(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PUBLISHER_COUNT_MAX; i++) {
        assert_true(publisher_has_room(&publisher));
        publish("x", 1);
    }
    assert_false(publisher_has_room(&publisher));
    for (unsigned i = 0; i <= PUBLISHER_COUNT_MAX / 2; i++) {
        assert_int_equal(ready_count, 0);
        answer(i, ERROR_NONE);
    }
    assert_int_equal(ready_count, 1);
    assert_true(publisher_has_room(&publisher));
    publisher_forget(&publisher);
    for (unsigned i = PUBLISHER_COUNT_MAX / 2 + 1; i < PUBLISHER_COUNT_MAX; i++)
        answer(i, ERROR_NONE);
    assert_int_equal(ready_count, 1);
}

static void test_what_is_on_its_way_is_bounded_by_bytes(void **state)
{
    static char data[PUBLISHER_BYTES_MAX / 2];
    (void)state;
    publish(data, sizeof(data));
    assert_true(publisher_has_room(&publisher));
    publish(data, sizeof(data));
    assert_false(publisher_has_room(&publisher));
    answer(0, ERROR_NONE);
    assert_int_equal(ready_count, 0);
    answer(1, ERROR_NONE);
    assert_int_equal(ready_count, 1);
}

static void test_nobody_is_told_when_the_client_has_gone(void **state)
{
    (void)state;
    publish("x", 1);
    publish("y", 1);
    answer(1, ERROR_NONE);
    publisher_forget(&publisher);
    publisher_forget(&publisher);
    answer(0, ERROR_NONE);
    assert_string_equal(said, "");
    assert_int_equal(hub.requests_pending, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_answers_come_in_the_order_of_the_publishes, begin),
    cmocka_unit_test_setup(test_what_is_wrong_is_answered_in_its_turn, begin),
    cmocka_unit_test_setup(test_a_broker_may_answer_in_the_call, begin),
    cmocka_unit_test_setup(test_what_is_on_its_way_is_bounded_by_number, begin),
    cmocka_unit_test_setup(test_what_is_on_its_way_is_bounded_by_bytes, begin),
    cmocka_unit_test_setup(test_nobody_is_told_when_the_client_has_gone, begin),
};
UNIT_MAIN(tests)
