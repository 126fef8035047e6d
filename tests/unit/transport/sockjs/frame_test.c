/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "render/render.h"
#include "transport/sockjs/frame.h"

static void expect(enum carrier carrier, const char *frame, const char *bytes)
{
    struct buf found = {0};
    sockjs_frame_append(&found, carrier, "cb", text_of(frame));
    buf_append_char(&found, '\0');
    assert_string_equal(found.bytes, bytes);
    buf_deinit(&found);
}

static void test_frame_stands_as_its_carrier_wants(void **state)
{
    (void)state;
    expect(CARRIER_XHR, "a[\"x\"]", "a[\"x\"]\n");
    expect(CARRIER_XHR_STREAMING, "o", "o\n");
    expect(CARRIER_EVENTSOURCE, "h", "data: h\r\n\r\n");
    expect(CARRIER_WEBSOCKET, "o", "o");
    expect(CARRIER_HTMLFILE, "a[\"x\"]", "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n");
    expect(CARRIER_JSONP, "a[\"x\"]", "/**/cb(\"a[\\\"x\\\"]\");\r\n");
}

static void test_frame_cannot_end_its_script(void **state)
{
    (void)state;
    expect(CARRIER_JSONP, "a[\"</script>\xe2\x80\xa8\"]", "/**/cb(\"a[\\\"<\\/script>\\u2028\\\"]\");\r\n");
    expect(CARRIER_HTMLFILE, "</script>", "<script>\np(\"<\\/script>\");\n</script>\r\n");
}

static void test_frame_of_a_close_has_code_and_reason(void **state)
{
    struct buf frame = {0};
    (void)state;
    sockjs_frame_append_close(&frame, CLOSE_GO_AWAY, NULL);
    buf_append_char(&frame, '\0');
    assert_string_equal(frame.bytes, "c[3000,\"Go away!\"]");
    buf_deinit(&frame);
}

static void test_prelude_is_longer_than_what_browsers_hold_back(void **state)
{
    struct buf prelude = {0};
    (void)state;
    sockjs_frame_append_prelude(&prelude, CARRIER_XHR_STREAMING, NULL);
    assert_int_equal(prelude.len, 2049);
    assert_int_equal(strspn(prelude.bytes, "h"), 2048);
    prelude.len = 0;
    sockjs_frame_append_prelude(&prelude, CARRIER_HTMLFILE, "cb");
    assert_true(prelude.len > 1024);
    prelude.len = 0;
    sockjs_frame_append_prelude(&prelude, CARRIER_XHR, NULL);
    assert_int_equal(prelude.len, 0);
    buf_deinit(&prelude);
}

static void expect_told(const char *text, const char *string)
{
    struct buf found = {0};
    render_sockjs_string(&found, text, strlen(text));
    buf_append_char(&found, '\0');
    assert_string_equal(found.bytes, string);
    buf_deinit(&found);
}

static void test_string_escapes_what_browsers_change(void **state)
{
    (void)state;
    expect_told("a\"\\/\n\x01\x7f", "\"a\\\"\\\\/\\n\\u0001\\u007f\"");
    expect_told("\xe2\x80\x8b\xe2\x80\x8c\xe2\x80\x8f\xe2\x80\x90",
                "\"\xe2\x80\x8b\\u200c\\u200f\xe2\x80\x90\"");
    expect_told("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xaf\xe2\x80\xb0",
                "\"\xe2\x80\xa7\\u2028\\u202f\xe2\x80\xb0\"");
    expect_told("\xe2\x81\x9f\xe2\x81\xa0\xe2\x81\xaf\xe2\x81\xb0",
                "\"\xe2\x81\x9f\\u2060\\u206f\xe2\x81\xb0\"");
    expect_told("\xef\xbf\xaf\xef\xbf\xb0\xef\xbf\xbf\xf0\x9f\x98\x80",
                "\"\xef\xbf\xaf\\ufff0\\uffff\xf0\x9f\x98\x80\"");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_frame_stands_as_its_carrier_wants),
    cmocka_unit_test(test_frame_cannot_end_its_script),
    cmocka_unit_test(test_frame_of_a_close_has_code_and_reason),
    cmocka_unit_test(test_prelude_is_longer_than_what_browsers_hold_back),
    cmocka_unit_test(test_string_escapes_what_browsers_change),
};

UNIT_MAIN(tests)
