/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "http/body.h"

static struct message *message_of(size_t size)
{
    static char data[100000];
    const struct message_parts parts = {.type = MESSAGE_BINARY, .data = data, .size = size};
    return message_new(&parts);
}

static void test_a_large_body_is_counted_until_its_response_goes(void **state)
{
    struct body body = {0};
    (void)state;
    uint64_t before = message_memory_bytes();
    struct message *message = message_of(100000);
    body_add_text(&body, "[", 1);
    for (unsigned i = 0; i < 20; i++)
        body_add_slice(&body, message, message_data(message), 100000);
    body_add_text(&body, "]\n", 2);
    assert_int_equal(body.size, 2000003);
    uint64_t bare = message_memory_bytes();
    struct MHD_Response *response = body_response(&body, "text/plain");
    assert_non_null(response);
    assert_int_equal(body.size, 0);
    assert_true(message_memory_bytes() > bare + BODY_SMALL_BYTES);
    message_unref(message);
    assert_true(message_memory_bytes() > before + 100000);
    MHD_destroy_response(response);
    assert_int_equal(message_memory_bytes(), before);
}

static void test_a_small_body_holds_no_message(void **state)
{
    struct body body = {0};
    (void)state;
    uint64_t before = message_memory_bytes();
    struct message *message = message_of(BODY_SMALL_BYTES);
    body_add_slice(&body, message, message_data(message), BODY_SMALL_BYTES);
    message_unref(message);
    struct MHD_Response *response = body_response(&body, "text/plain");
    assert_non_null(response);
    assert_int_equal(message_memory_bytes(), before);
    MHD_destroy_response(response);
}

static void test_a_response_keeps_its_message(void **state)
{
    (void)state;
    uint64_t before = message_memory_bytes();
    struct message *message = message_of(1000);
    struct MHD_Response *response = body_response_of_message(message, "text/plain");
    assert_string_equal(MHD_get_response_header(response, "Content-Type"), "text/plain");
    message_unref(message);
    assert_true(message_memory_bytes() > before + 1000);
    MHD_destroy_response(response);
    assert_int_equal(message_memory_bytes(), before);
}

static void test_a_body_that_failed_makes_no_response(void **state)
{
    struct body body = {.has_failed = true};
    (void)state;
    body_add_text(&body, "x", 1);
    assert_null(body_response(&body, "text/plain"));
    assert_int_equal(body.count, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_large_body_is_counted_until_its_response_goes),
    cmocka_unit_test(test_a_small_body_holds_no_message),
    cmocka_unit_test(test_a_response_keeps_its_message),
    cmocka_unit_test(test_a_body_that_failed_makes_no_response),
};
UNIT_MAIN(tests)
