/* SPDX-License-Identifier: MIT */
#include "server/activation.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

static char fault[ACTIVATION_FAULT_MAX];

static struct activation parsed(const char *count, const char *names)
{
    struct activation activation;
    assert_int_equal(activation_parse(&activation, 42, "42", count, names, fault), 0);
    return activation;
}

static void assert_refused(const char *pid, const char *count, const char *names, const char *why)
{
    struct activation activation;
    assert_int_equal(activation_parse(&activation, 42, pid, count, names, fault), -EINVAL);
    assert_non_null(strstr(fault, why));
}

static void test_names_are_the_options(void **state)
{
    struct activation activation = parsed("3", "http:tcp:http");
    (void)state;
    assert_int_equal(activation.count, 3);
    assert_string_equal(activation.names[0], "http");
    assert_string_equal(activation.names[1], "tcp");
    assert_string_equal(activation.names[2], "http");
}

static void test_a_socket_without_a_name_is_of_http(void **state)
{
    static const char *const names[] = {NULL, "", "unknown", "sluice.socket"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_string_equal(parsed("1", names[i]).names[0], "http");
    assert_string_equal(parsed("2", "tcp").names[1], "http");
}

static void test_what_is_for_another_process_is_none(void **state)
{
    struct activation activation;
    (void)state;
    assert_int_equal(activation_parse(&activation, 42, "41", "1", "http", fault), 0);
    assert_int_equal(activation.count, 0);
    assert_int_equal(activation_parse(&activation, 42, NULL, "1", "http", fault), 0);
    assert_int_equal(activation.count, 0);
    assert_int_equal(activation_parse(&activation, 42, "42", NULL, NULL, fault), 0);
    assert_int_equal(activation.count, 0);
}

static void test_what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    assert_refused("x", "1", NULL, "LISTEN_PID");
    assert_refused("42", "-1", NULL, "LISTEN_FDS");
    assert_refused("42", "65", NULL, "LISTEN_FDS");
    assert_refused("42", "99999999999999999999", NULL, "LISTEN_FDS");
    assert_refused("42", "1", "http:tcp", "LISTEN_FDNAMES");
    assert_refused("42", "1", "a234567890123456789012345678901234567890123456789012345678901234",
                   "LISTEN_FDNAMES");
}

static void test_only_a_stream_socket_that_listens_is_taken(void **state)
{
    struct address address;
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    int stream = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    assert_int_equal(activation_take(datagrams, &address, fault), -EINVAL);
    assert_int_equal(activation_take(stream, &address, fault), -EINVAL);
    assert_int_equal(activation_take(9999, &address, fault), -EINVAL);
    assert_int_equal(listen(stream, 1), 0);
    assert_int_equal(activation_take(stream, &address, fault), 0);
    assert_int_equal(address.storage.ss_family, AF_INET);
    close(stream);
    close(datagrams);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_names_are_the_options),
    cmocka_unit_test(test_a_socket_without_a_name_is_of_http),
    cmocka_unit_test(test_what_is_for_another_process_is_none),
    cmocka_unit_test(test_what_makes_no_sense_is_refused),
    cmocka_unit_test(test_only_a_stream_socket_that_listens_is_taken),
};
UNIT_MAIN(tests)
