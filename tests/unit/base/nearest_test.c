/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "base/nearest.h"

static const char *const words[] = {"serve",        "check-config",  "help",         "version",
                                    "http",         "heartbeat",     "history-size", "history-ttl",
                                    "poll-wait",    "poll-wait-max", "retry",        "shards",
                                    "message-size", "memory-limit",  "log-level"};

static const char *find(const char *wanted)
{
    struct nearest nearest = {.wanted = wanted};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        nearest_offer(&nearest, words[i]);
    return nearest.word ? nearest.word : "";
}

static void test_a_mistyped_word_is_found(void **state)
{
    static const char *const cases[][2] = {{"serv", "serve"},
                                           {"hlep", "help"},
                                           {"versoin", "version"},
                                           {"check_config", "check-config"},
                                           {"retri", "retry"},
                                           {"message-sizes", "message-size"},
                                           {"poll_wait", "poll-wait"},
                                           {"loglevel", "log-level"},
                                           {"hearbeat", "heartbeat"},
                                           {"pol-wait-max", "poll-wait-max"},
                                           {"histroy-ttl", "history-ttl"},
                                           {"serve", "serve"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(find(cases[i][0]), cases[i][1]);
}

static void test_the_first_part_of_a_word_is_enough(void **state)
{
    (void)state;
    assert_string_equal(find("histry"), "history-size");
    assert_string_equal(find("messge"), "message-size");
    assert_string_equal(find("check"), "check-config");
}

static void test_what_is_like_nothing_finds_nothing(void **state)
{
    char longest[100];
    (void)state;
    assert_string_equal(find("fly"), "");
    assert_string_equal(find(""), "");
    assert_string_equal(find("x"), "");
    assert_string_equal(find("port"), "");
    assert_string_equal(find("colour"), "");
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_string_equal(find(longest), "");
}

static void test_words_of_the_greatest_length_are_compared(void **state)
{
    char wanted[65];
    char word[65];
    (void)state;
    memset(wanted, 'x', sizeof(wanted));
    memset(word, 'x', sizeof(word));
    wanted[63] = word[63] = '\0';
    wanted[5] = 'y';
    struct nearest nearest = {.wanted = wanted};
    nearest_offer(&nearest, word);
    assert_ptr_equal(nearest.word, word);
    wanted[63] = word[63] = 'x';
    wanted[64] = word[64] = '\0';
    nearest = (struct nearest){.wanted = wanted};
    nearest_offer(&nearest, word);
    assert_null(nearest.word);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_mistyped_word_is_found),
    cmocka_unit_test(test_the_first_part_of_a_word_is_enough),
    cmocka_unit_test(test_what_is_like_nothing_finds_nothing),
    cmocka_unit_test(test_words_of_the_greatest_length_are_compared),
};
UNIT_MAIN(tests)
