/* SPDX-License-Identifier: MIT */
/* Publications with a broker of the test's own. */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/publication.h"

#define ASKED_MAX (ERRANDS_COUNT_MAX + 8u)

static struct broker_request *asked[ASKED_MAX];
static unsigned asked_count;
static bool is_near; /* the broker answers in the call */
static struct hub hub;
static struct errands errands;
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

static void answered(struct publication *publication, enum error_code error, const char *what)
{
    char line[32];
    assert_ptr_equal(publication->errand.errands, &errands);
    if (error == ERROR_NONE)
        snprintf(line, sizeof(line), "%llu\n", (unsigned long long)publication->item.offset);
    else
        snprintf(line, sizeof(line), "%s\n", error_name(error));
    assert_int_equal(error == ERROR_NONE, what[0] == '\0');
    strcat(said, line);
}

static void ready(struct errands *which)
{
    assert_ptr_equal(which, &errands);
    ready_count++;
}

static const struct publication_ops ops = {.answer = answered};
static const struct errands_ops errands_ops = {.ready = ready};

static int begin(void **state)
{
    (void)state;
    hub = (struct hub){.broker = &fake};
    asked_count = 0;
    is_near = false;
    said[0] = '\0';
    ready_count = 0;
    errands_init(&errands, &hub, &errands_ops);
    return 0;
}

static void submit(const struct publish_wish *wish, uint64_t size_limit_bytes)
{
    struct publication *publication = calloc(1, sizeof(*publication));
    assert_non_null(publication);
    publication_begin(publication, &ops, &errands, wish, size_limit_bytes);
}

static void publish(const char *data, size_t len)
{
    const struct publish_wish wish = {
        .parts = {.type = MESSAGE_TEXT, .data = data, .size = len}, .channel = {"a", 1}, .is_checked = true};
    submit(&wish, 4u << 20);
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
    assert_true(errands_are_idle(&errands));
    assert_int_equal(errands.bytes, 0);
}

static void test_what_is_wrong_is_answered_in_its_turn(void **state)
{
    const struct publish_wish wish = {.parts = {.type = MESSAGE_TEXT, .data = "\xff", .size = 1},
                                      .channel = {"a", 1}};
    (void)state;
    publish("x", 1);
    submit(&wish, 10);
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
    for (unsigned i = 0; i < ERRANDS_COUNT_MAX; i++) {
        assert_true(errands_have_room(&errands));
        publish("x", 1);
    }
    assert_false(errands_have_room(&errands));
    for (unsigned i = 0; i <= ERRANDS_COUNT_MAX / 2; i++) {
        assert_int_equal(ready_count, 0);
        answer(i, ERROR_NONE);
    }
    assert_int_equal(ready_count, 1);
    assert_true(errands_have_room(&errands));
    errands_forget(&errands);
    for (unsigned i = ERRANDS_COUNT_MAX / 2 + 1; i < ERRANDS_COUNT_MAX; i++)
        answer(i, ERROR_NONE);
    assert_int_equal(ready_count, 1);
}

static void test_what_is_on_its_way_is_bounded_by_bytes(void **state)
{
    static char data[ERRANDS_BYTES_MAX / 2];
    (void)state;
    publish(data, sizeof(data));
    assert_true(errands_have_room(&errands));
    publish(data, sizeof(data));
    assert_false(errands_have_room(&errands));
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
    errands_forget(&errands);
    errands_forget(&errands);
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
