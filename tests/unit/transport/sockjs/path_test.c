/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "transport/sockjs/path.h"

static void test_path_names_prefix_session_and_carrier(void **state)
{
    struct session_path path;
    (void)state;
    assert_true(session_path_parse(&path, text_of("/a/echo/000/s%2Ft/xhr_streaming")));
    assert_string_equal(path.prefix, "/a/echo");
    assert_true(text_is(path.session, "s%2Ft"));
    assert_int_equal(path.carrier, CARRIER_XHR_STREAMING);
    assert_true(session_path_parse(&path, text_of("/%65cho/0/s/jsonp_send")));
    assert_string_equal(path.prefix, "/echo");
    assert_int_equal(path.carrier, CARRIER_JSONP_SEND);
}

static void test_path_has_no_empty_and_no_dotted_name(void **state)
{
    static const char *const wrong[] = {"",
                                        "/",
                                        "xhr",
                                        "/echo/0/s/",
                                        "/echo/0/s/XHR",
                                        "/echo//s/xhr",
                                        "/echo/0//xhr",
                                        "/echo/0./s/xhr",
                                        "/echo/0/s./xhr",
                                        "s/xhr",
                                        "/%zz/0/s/xhr",
                                        "/%00/0/s/xhr"};
    struct session_path path;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        if (session_path_parse(&path, text_of(wrong[i])))
            fail_msg("'%s' is taken", wrong[i]);
}

static void test_path_has_a_largest_session_and_length(void **state)
{
    char text[SESSION_PATH_MAX + 8];
    struct session_path path;
    (void)state;
    snprintf(text, sizeof(text), "/e/0/%0*d/xhr", (int)SESSION_ID_MAX, 0);
    assert_true(session_path_parse(&path, text_of(text)));
    snprintf(text, sizeof(text), "/e/0/%0*d/xhr", (int)SESSION_ID_MAX + 1, 0);
    assert_false(session_path_parse(&path, text_of(text)));
    snprintf(text, sizeof(text), "/%0*d/0/s/xhr", (int)SESSION_PATH_MAX - 9, 0);
    assert_true(session_path_parse(&path, text_of(text)));
    snprintf(text, sizeof(text), "/%0*d/0/s/xhr", (int)SESSION_PATH_MAX - 8, 0);
    assert_false(session_path_parse(&path, text_of(text)));
}

static void test_path_knows_iframe_pages(void **state)
{
    static const char *const good[] = {"iframe.html", "iframe-a.html", "iframe-.html",
                                       "iframe-0.1.2abc-dirty.2144.html"};
    static const char *const bad[] = {"iframe.htm",    "iframe",     "IFRAME.HTML",  "iframe.HTML",
                                      "iframe-/.html", "iframe.xml", "xiframe.html", "iframehtml"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
        assert_true(path_is_iframe(text_of(good[i])));
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(path_is_iframe(text_of(bad[i])));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_path_names_prefix_session_and_carrier),
    cmocka_unit_test(test_path_has_no_empty_and_no_dotted_name),
    cmocka_unit_test(test_path_has_a_largest_session_and_length),
    cmocka_unit_test(test_path_knows_iframe_pages),
};

UNIT_MAIN(tests)
