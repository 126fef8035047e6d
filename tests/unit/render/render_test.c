/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/render.h"

static struct epoch epoch;

static char *payload_of(struct rendering *(*render)(const struct message *, struct text,
                                                    const struct epoch *),
                        const struct message_parts *parts)
{
    struct message *message = message_new(parts);
    message->offset = 7;
    message->time_ms = 1700000000000;
    assert_int_equal(epoch_parse(&epoch, "k3q9xm2ab7zt"), 0);
    struct rendering *rendering = render(message, text_of("a/b"), &epoch);
    assert_non_null(rendering);
    /* The chunk around the payload says how long it is. */
    assert_int_equal(strtoul(rendering->bytes, NULL, 16), rendering->payload_end - rendering->payload);
    assert_memory_equal(rendering->bytes + rendering->payload - 2, "\r\n", 2);
    assert_memory_equal(rendering->bytes + rendering->payload_end, "\r\n", 2);
    assert_int_equal(rendering->size, rendering->payload_end + 2);
    char *payload =
        strndup(rendering->bytes + rendering->payload, rendering->payload_end - rendering->payload);
    free(rendering);
    message_unref(message);
    return payload;
}

static void expect_sse(enum message_type type, const char *data, size_t size, const char *event,
                       const char *expected)
{
    const struct message_parts parts = {.type = type, .data = data, .size = size, .event = text_of(event)};
    char *payload = payload_of(render_sse, &parts);
    assert_string_equal(payload, expected);
    free(payload);
}

#define ID "id: k3q9xm2ab7zt-7\n"

static void test_sse_splits_lines_at_cr_lf_and_crlf(void **state)
{
    (void)state;
    expect_sse(MESSAGE_TEXT, "one", 3, NULL, ID "data: one\n\n");
    expect_sse(MESSAGE_TEXT, "a\nb\rc\r\nd", 8, NULL, ID "data: a\ndata: b\ndata: c\ndata: d\n\n");
    expect_sse(MESSAGE_TEXT, "a\n\rb", 4, NULL, ID "data: a\ndata: \ndata: b\n\n");
    expect_sse(MESSAGE_TEXT, "a\n", 2, NULL, ID "data: a\ndata: \n\n");
    expect_sse(MESSAGE_TEXT, "\r\n", 2, NULL, ID "data: \ndata: \n\n");
}

static void test_sse_takes_empty_and_leading_spaces_and_bom(void **state)
{
    (void)state;
    expect_sse(MESSAGE_TEXT, "", 0, NULL, ID "data: \n\n");
    expect_sse(MESSAGE_TEXT, " x", 2, NULL, ID "data:  x\n\n");
    expect_sse(MESSAGE_TEXT, "\xef\xbb\xbfx", 4, NULL, ID "data: \xef\xbb\xbfx\n\n");
    expect_sse(MESSAGE_TEXT, ": no comment", 12, NULL, ID "data: : no comment\n\n");
}

static void test_sse_names_events_and_encodes_binary(void **state)
{
    (void)state;
    expect_sse(MESSAGE_TEXT, "x", 1, "goal", ID "event: goal\ndata: x\n\n");
    expect_sse(MESSAGE_BINARY, "\0\xff\n", 3, NULL, ID "data: AP8K\n\n");
}

static void expect_json(enum message_type type, const char *data, size_t size, const char *expected_end)
{
    const struct message_parts parts = {.type = type, .data = data, .size = size};
    char *payload = payload_of(render_json, &parts);
    const char *begin = "{\"cursor\":\"k3q9xm2ab7zt-7\",\"channel\":\"a/b\",\"id\":\"k3q9xm2ab7zt-7\","
                        "\"time\":1700000000000,";
    assert_memory_equal(payload, begin, strlen(begin));
    assert_string_equal(payload + strlen(begin), expected_end);
    free(payload);
}

static void test_json_escapes_text(void **state)
{
    (void)state;
    expect_json(MESSAGE_TEXT, "a\"b\\c\n\r\t\x01\x1f\x7f", 11,
                "\"type\":\"text\",\"data\":\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\\u007f\"}\n");
    expect_json(MESSAGE_TEXT, "\0", 1, "\"type\":\"text\",\"data\":\"\\u0000\"}\n");
    expect_json(MESSAGE_TEXT, "\xf0\x9f\x90\x87\xc3\xa9", 6,
                "\"type\":\"text\",\"data\":\"\xf0\x9f\x90\x87\xc3\xa9\"}\n");
    expect_json(MESSAGE_TEXT, "", 0, "\"type\":\"text\",\"data\":\"\"}\n");
}

static void test_json_keeps_json_on_one_line(void **state)
{
    (void)state;
    expect_json(MESSAGE_JSON, "{\n \"a\":\r\n1}", 11, "\"type\":\"json\",\"data\":{  \"a\":  1}}\n");
    expect_json(MESSAGE_BINARY, "\0\xff\n", 3, "\"type\":\"binary\",\"data\":\"AP8K\"}\n");
}

static void test_json_has_event_and_producer_where_given(void **state)
{
    const struct message_parts parts = {.data = "x", .size = 1, .event = {"e", 1}, .producer = {"\"", 1}};
    (void)state;
    char *payload = payload_of(render_json, &parts);
    assert_non_null(
        strstr(payload, "\"time\":1700000000000,\"event\":\"e\",\"producer\":\"\\\"\",\"type\":\"text\""));
    free(payload);
}

static void test_resets_say_what_is_known(void **state)
{
    struct buf to = {0};
    (void)state;
    render_reset(&to, text_of("a"), RESET_TRIMMED, 3, text_of("c-1"));
    render_reset(&to, text_of("a"), RESET_EPOCH, UINT64_MAX, text_of("c-1"));
    buf_append_char(&to, '\0');
    assert_string_equal(to.bytes, "{\"channel\":\"a\",\"reason\":\"trimmed\",\"missed\":3,\"cursor\":\"c-1\"}"
                                  "{\"channel\":\"a\",\"reason\":\"epoch\",\"cursor\":\"c-1\"}");
    buf_deinit(&to);
}

static void expect_frame(struct rendering *(*render)(const struct message *, struct text,
                                                     const struct epoch *),
                         const struct message_parts *parts, const char *head, size_t head_len,
                         const char *body, const char *shared)
{
    struct message *message = message_new(parts);
    message->offset = 7;
    message->time_ms = 1700000000000;
    assert_int_equal(epoch_parse(&epoch, "k3q9xm2ab7zt"), 0);
    struct rendering *rendering = render(message, text_of("a/b"), &epoch);
    assert_int_equal(rendering->payload, 0);
    assert_int_equal(rendering->payload_end, head_len + strlen(body));
    assert_int_equal(rendering->size, rendering->payload_end);
    assert_memory_equal(rendering->bytes, head, head_len);
    assert_memory_equal(rendering->bytes + head_len, body, strlen(body));
    assert_memory_equal(rendering->bytes + rendering->shared, shared, strlen(shared));
    free(rendering);
    message_unref(message);
}

static void test_websocket_has_binary_frames_for_binary_data_only(void **state)
{
    struct message_parts parts = {.type = MESSAGE_TEXT, .data = "a\nb", .size = 3};
    (void)state;
    expect_frame(render_websocket_data, &parts, "\x81\x03", 2, "a\nb", "\x81\x03");
    parts.type = MESSAGE_JSON;
    expect_frame(render_websocket_data, &parts, "\x81\x03", 2, "a\nb", "\x81\x03");
    parts.type = MESSAGE_BINARY;
    expect_frame(render_websocket_data, &parts, "\x82\x03", 2, "a\nb", "\x82\x03");
    parts.size = 0;
    expect_frame(render_websocket_data, &parts, "\x82\x00", 2, "", "\x82\x00");
}

#define WEBSOCKET_MESSAGE                                                                                    \
    "\"channel\":\"a/"                                                                                       \
    "b\",\"id\":\"k3q9xm2ab7zt-7\",\"time\":1700000000000,\"type\":\"binary\",\"data\":\"AP8K\"}"

static void test_websocket_objects_are_those_of_the_stream_and_of_a_command(void **state)
{
    static const struct message_parts parts = {.type = MESSAGE_BINARY, .data = "\0\xff\n", .size = 3};
    (void)state;
    expect_frame(render_websocket_json, &parts, "\x81\x74", 2,
                 "{\"cursor\":\"k3q9xm2ab7zt-7\"," WEBSOCKET_MESSAGE, WEBSOCKET_MESSAGE);
    expect_frame(render_websocket_command, &parts, "\x81\x69", 2, "{\"op\":\"message\"," WEBSOCKET_MESSAGE,
                 "{\"op\":\"message\"," WEBSOCKET_MESSAGE);
}

#define BOUNDARY "--" RENDER_MULTIPART_BOUNDARY "\r\n"
#define PART                                                                                                 \
    "Sluice-Cursor: k3q9xm2ab7zt-7\r\nContent-Type: %s\r\nSluice-Channel: a/b\r\n"                           \
    "Sluice-Id: k3q9xm2ab7zt-7\r\nSluice-Time: 1700000000000\r\n%s\r\n%s\r\n" BOUNDARY

static void expect_part(const struct message_parts *parts, const char *mime, const char *fields,
                        const char *data)
{
    char expected[1024];
    snprintf(expected, sizeof(expected), PART, mime, fields, data);
    char *payload = payload_of(render_multipart, parts);
    assert_string_equal(payload, expected);
    free(payload);
}

static void test_a_part_has_the_fields_of_its_message(void **state)
{
    const struct message_parts picture = {
        .type = MESSAGE_BINARY, .data = "JPEG", .size = 4, .event = {"e", 1}, .mime = {"image/jpeg", 10}};
    (void)state;
    expect_part(&picture, "image/jpeg", "Sluice-Event: e\r\nContent-Length: 4\r\n", "JPEG");
    const struct message_parts empty = {.data = "", .producer = {"p", 1}};
    expect_part(&empty, "text/plain; charset=utf-8", "Sluice-Producer: p\r\nContent-Length: 0\r\n", "");
}

static void test_a_part_ends_where_its_data_does(void **state)
{
    const char *data = RENDER_MULTIPART_BOUNDARY "\r\n";
    const struct message_parts parts = {.data = data, .size = strlen(data), .mime = {"a\rb: c", 6}};
    (void)state;
    expect_part(&parts, "application/octet-stream",
                "Content-Transfer-Encoding: base64\r\nContent-Length: 36\r\n",
                "c2x1aWNlLXBhcnQtN2QyZjk0ZTFiNjBjDQo=");
}

static void test_a_script_calls_with_the_json_form(void **state)
{
    const struct message_parts text = {.data = "</a", .size = 3, .event = {"<!", 2}};
    const struct message_parts json = {.type = MESSAGE_JSON, .data = "{\"__proto__\":1}", .size = 15};
    (void)state;
    char *payload = payload_of(render_htmlfile, &text);
    assert_string_equal(payload, "<script>p({\"cursor\":\"k3q9xm2ab7zt-7\",\"channel\":\"a/b\",\"id\":"
                                 "\"k3q9xm2ab7zt-7\",\"time\":1700000000000,\"event\":\"\\u003c!\","
                                 "\"type\":\"text\",\"data\":\"<\\/a\"})</script>\n");
    free(payload);
    payload = payload_of(render_htmlfile, &json);
    assert_non_null(strstr(payload, ",\"data\":JSON.parse(\"{\\\"__proto__\\\":1}\")})</script>\n"));
    free(payload);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_part_has_the_fields_of_its_message),
    cmocka_unit_test(test_a_part_ends_where_its_data_does),
    cmocka_unit_test(test_a_script_calls_with_the_json_form),
    cmocka_unit_test(test_sse_splits_lines_at_cr_lf_and_crlf),
    cmocka_unit_test(test_sse_takes_empty_and_leading_spaces_and_bom),
    cmocka_unit_test(test_sse_names_events_and_encodes_binary),
    cmocka_unit_test(test_json_escapes_text),
    cmocka_unit_test(test_json_keeps_json_on_one_line),
    cmocka_unit_test(test_json_has_event_and_producer_where_given),
    cmocka_unit_test(test_resets_say_what_is_known),
    cmocka_unit_test(test_websocket_has_binary_frames_for_binary_data_only),
    cmocka_unit_test(test_websocket_objects_are_those_of_the_stream_and_of_a_command),
};
UNIT_MAIN(tests)
