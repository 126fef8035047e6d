/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "core/publish.h"

static char fault[PUBLISH_FAULT_MAX];

static struct publish_wish wish_of(const char *data)
{
    return (struct publish_wish){.parts = {.type = MESSAGE_TEXT, .data = data, .size = strlen(data)},
                                 .channel = {"a/b", 3}};
}

static enum error_code fill(const struct publish_wish *wish, uint64_t limit)
{
    struct publish_item item = {0};
    enum error_code error = publish_item_fill(&item, wish, limit, fault);
    free(item.channel);
    message_unref(item.message);
    return error;
}

static void expect_refused(const struct publish_wish *wish, enum error_code error, const char *why)
{
    assert_int_equal(fill(wish, 1000), error);
    if (!strstr(fault, why))
        fail_msg("'%s' does not say '%s'", fault, why);
}

static void test_an_item_has_what_the_wish_says(void **state)
{
    struct publish_item item = {0};
    struct publish_wish wish = wish_of("hello");
    (void)state;
    wish.key = text_of("k1");
    wish.parts.event = text_of("goal");
    assert_int_equal(publish_item_fill(&item, &wish, 5, fault), ERROR_NONE);
    assert_int_equal(item.channel_len, 3);
    assert_memory_equal(item.channel, "a/b", 3);
    assert_int_equal(item.key_len, 2);
    assert_memory_equal(item.key, "k1", 2);
    assert_int_equal(item.type, MESSAGE_TEXT);
    assert_int_equal(item.message->size, 5);
    assert_memory_equal(message_data(item.message), "hello", 5);
    assert_memory_equal(message_event(item.message), "goal", 4);
    free(item.channel);
    message_unref(item.message);
}

static void test_the_limit_itself_is_allowed(void **state)
{
    struct publish_wish wish = wish_of("12345");
    (void)state;
    assert_int_equal(fill(&wish, 5), ERROR_NONE);
    assert_int_equal(fill(&wish, 4), ERROR_TOO_LARGE);
    assert_non_null(strstr(fault, "the message has 5 bytes; message-size allows 4"));
}

static void test_names_that_are_not_are_refused(void **state)
{
    struct publish_wish wish = wish_of("x");
    (void)state;
    wish.channel = text_of("a b");
    expect_refused(&wish, ERROR_BAD_CHANNEL, "a channel name ");
    wish.channel.len = 0;
    expect_refused(&wish, ERROR_BAD_CHANNEL, "a channel name ");
}

static void test_attributes_are_text_of_one_line(void **state)
{
    char longest[MESSAGE_ATTRIBUTE_MAX + 1];
    (void)state;
    memset(longest, 'x', sizeof(longest));
    for (unsigned i = 0; i < 3; i++) {
        struct publish_wish wish = wish_of("x");
        struct text *text = i == 0 ? &wish.parts.event : i == 1 ? &wish.parts.producer : &wish.key;
        static const char *const names[] = {"event must be", "producer must be", "Idempotency-Key must be"};
        static const char *const bad[] = {"", "\n", "a\x1f", "\x7f", "\xff"};
        for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
            *text = text_of(bad[j]);
            expect_refused(&wish, ERROR_BAD_OPTION, names[i]);
        }
        *text = (struct text){longest, sizeof(longest)};
        expect_refused(&wish, ERROR_BAD_OPTION, names[i]);
        text->len = sizeof(longest) - 1;
        assert_int_equal(fill(&wish, 1000), ERROR_NONE);
    }
}

static void test_events_of_the_server_and_the_browser_are_refused(void **state)
{
    static const char *const reserved[] = {"reset", "error", "open", "subscribed"};
    static const char *const others[] = {"resets", "rese", "Error", "opened", "message"};
    struct publish_wish wish = wish_of("x");
    (void)state;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        wish.parts.event = text_of(reserved[i]);
        expect_refused(&wish, ERROR_BAD_OPTION, reserved[i]);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        wish.parts.event = text_of(others[i]);
        assert_int_equal(fill(&wish, 1000), ERROR_NONE);
    }
}

static void test_data_is_what_its_type_says(void **state)
{
    struct publish_wish wish = wish_of("ab\xff");
    (void)state;
    expect_refused(&wish, ERROR_BAD_TEXT, "not UTF-8 from byte 3 on");
    wish.is_checked = true;
    assert_int_equal(fill(&wish, 1000), ERROR_NONE);
    wish = wish_of("ab\xff");
    wish.parts.type = MESSAGE_BINARY;
    assert_int_equal(fill(&wish, 1000), ERROR_NONE);
    wish = wish_of("[1,\n]");
    wish.parts.type = MESSAGE_JSON;
    expect_refused(&wish, ERROR_BAD_JSON, "the data is not JSON: line 2, column 1: a value is expected");
    wish = wish_of(" [1]\n");
    wish.parts.type = MESSAGE_JSON;
    assert_int_equal(fill(&wish, 1000), ERROR_NONE);
}

static void test_types_have_words_and_data_without_one_is_guessed(void **state)
{
    (void)state;
    for (unsigned i = MESSAGE_TEXT; i <= MESSAGE_BINARY; i++) {
        enum message_type type = (enum message_type)(i + 1) % 3;
        const char *word = message_type_word((enum message_type)i);
        assert_int_equal(message_type_parse(&type, word, strlen(word)), 0);
        assert_int_equal(type, i);
        assert_int_not_equal(message_type_parse(&type, word, strlen(word) - 1), 0);
    }
    assert_int_equal(message_type_guess("", 0), MESSAGE_TEXT);
    assert_int_equal(message_type_guess("caf\xc3\xa9", 5), MESSAGE_TEXT);
    assert_int_equal(message_type_guess("caf\xc3", 4), MESSAGE_BINARY);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_an_item_has_what_the_wish_says),
    cmocka_unit_test(test_the_limit_itself_is_allowed),
    cmocka_unit_test(test_names_that_are_not_are_refused),
    cmocka_unit_test(test_attributes_are_text_of_one_line),
    cmocka_unit_test(test_events_of_the_server_and_the_browser_are_refused),
    cmocka_unit_test(test_data_is_what_its_type_says),
    cmocka_unit_test(test_types_have_words_and_data_without_one_is_guessed),
};
UNIT_MAIN(tests)
