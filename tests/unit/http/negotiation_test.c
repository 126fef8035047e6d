/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/random.h"
#include "http/negotiation.h"
#include "http/refusal.h"
#include "transport/transports.h"

static const char *chosen(const struct transport *transport)
{
    for (size_t i = 0; transports[i]; i++)
        if (transports[i] == transport)
            return transport->words[0];
    return "none";
}

static void test_accept_chooses_the_transport_it_prefers(void **state)
{
    static const char *const cases[][2] = {
        {"", "poll"},
        {"*/*", "poll"},
        {"text/event-stream", "sse"},
        {"TEXT/Event-Stream", "sse"},
        {"text/event-stream;charset=utf-8", "sse"},
        {"application/x-ndjson", "stream"},
        {"application/ndjson", "stream"},
        {"application/jsonl", "stream"},
        {"application/json", "json"},
        {"application/json, text/plain, */*", "json"},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "poll"},
        {"text/html, text/event-stream;q=0.9", "sse"},
        {"application/json;q=0.5, text/event-stream", "sse"},
        {"application/json;q=0.5, text/event-stream;q=0.51", "sse"},
        {"text/event-stream;q=0.5, application/json;q=0.501", "json"},
        {"text/event-stream, application/json", "sse"},
        {"application/json, text/event-stream", "json"},
        {"*/*, text/event-stream", "sse"},
        {"text/event-stream;q=0.5, */*;q=0.8", "poll"},
        {"text/event-stream;q=0.5, text/*;q=0.8", "poll"},
        {"text/event-stream;q=0", "poll"},
        {"application/json;q=0, application/x-ndjson, */*", "stream"},
        {"application/json;q=0.0, */*;q=0.1", "poll"},
        {"*/*;q=0, text/event-stream;q=0.1", "sse"},
        {"text/event-stream ; Q=0.2 ,application/json;q=0.1", "sse"},
        {"text/event-stream;q=1.000, application/json;q=0.999", "sse"},
        {"application/json;q=0.2, text/event-stream;q=nonsense", "sse"},
        {"application/json;q=0.2, text/event-stream;q=0.0001", "sse"},
        {"application/json;v=1;q=0.1, text/event-stream;q=0.2", "sse"},
        {"x-text/event-stream, application/json-seq", "poll"},
        {",,;q=1,*,/*", "poll"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const char *found = chosen(negotiation_find_accepted(cases[i][0], strlen(cases[i][0])));
        if (strcmp(found, cases[i][1]) != 0)
            fail_msg("'%s' chose %s", cases[i][0], found);
    }
}

static void test_a_head_says_what_its_client_wants(void **state)
{
    static const char *const cases[][2] = {
        {"GET /channels/a HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n", "sse"},
        {"GET /channels/a HTTP/1.1\r\nHost: x\r\naccept:text/event-stream \r\n\r\n", "sse"},
        {"GET /channels/a?transport=sse HTTP/1.1\r\n\r\n", "sse"},
        {"GET /channels/a?last=1&transport=stream HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n", "stream"},
        {"GET /channels/a?xtransport=sse HTTP/1.1\r\n\r\n", "poll"},
        {"GET /channels/a?transport=ss HTTP/1.1\r\n\r\n", "none"},
        {"GET /channels/a HTTP/1.1\r\nX-Accept: text/event-stream\r\n\r\n", "poll"},
        {"POST /channels/a HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n", "none"},
        {"GET /channels/a HTTP/1.1\r\nReferer: /?transport=sse\r\n\r\n", "poll"},
        {"GET /channels/a HTTP/1.1\r\nAccept: text/event-str", "poll"},
        {"GET", "none"},
        {"", "none"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const char *found = chosen(negotiation_find_in_head(cases[i][0], strlen(cases[i][0])));
        if (strcmp(found, cases[i][1]) != 0)
            fail_msg("'%s' chose %s", cases[i][0], found);
    }
}

static void expect_refusal(enum error_code error, const char *head, const char *begin, const char *end)
{
    const struct options options = {.retry_ms = 0};
    char text[1024];
    size_t len = refusal_render(&options, error, head, strlen(head), text, sizeof(text) - 1);
    text[len] = '\0';
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    assert_true(len >= strlen(end));
    assert_int_equal(len > 0, *begin != '\0');
    assert_string_equal(text + len - strlen(end), end);
}

static void test_an_event_source_is_told_to_come_back_and_others_the_status(void **state)
{
    static const char events[] = "GET /a HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n";
    (void)state;
    expect_refusal(
        ERROR_TOO_MANY_CONNECTIONS, events, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
        "Content-Length: 9\r\nCache-Control: no-store, no-transform\r\nX-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\nretry: 0\n");
    expect_refusal(ERROR_HEAD_TOO_LARGE, events, "HTTP/1.1 431 ", "}\n");
    expect_refusal(ERROR_NO_DESCRIPTORS, "GET /a HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "}\n");
    expect_refusal(ERROR_NO_DESCRIPTORS, "", "HTTP/1.1 503 ", "}\n");
    expect_refusal(ERROR_NO_DESCRIPTORS, "GET /a?transport=stream HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "}\n");
    expect_refusal(ERROR_STOPPING, "GET /a?transport=sse HTTP/1.1\r\nOrigin: https://b\r\n\r\n", "", "");
}

static int prepare(void **state)
{
    (void)state;
    subscribe_set_transports(transports);
    return random_init();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_accept_chooses_the_transport_it_prefers, prepare),
    cmocka_unit_test_setup(test_a_head_says_what_its_client_wants, prepare),
    cmocka_unit_test_setup(test_an_event_source_is_told_to_come_back_and_others_the_status, prepare),
};
UNIT_MAIN(tests)
