/* SPDX-License-Identifier: MIT */
#include "broker/redis/answer.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

/* The channel "fuzz"; epochs of it begin with 8w979. */
#define NAME ((struct text){"fuzz", 4})
#define EPOCH "$12\r\n8w979abcdefg\r\n"
#define OTHER "$12\r\n8w97aabcdefg\r\n"
#define ENTRY(id) "*2\r\n" id "*2\r\n$4\r\ndata\r\n$1\r\nx\r\n"
#define READING(epoch, top, oldest, before, entries)                                                         \
    "*9\r\n" epoch top oldest ":1000\r\n$6\r\npurged\r\n" before ":900\r\n:500\r\n" entries

static struct redisReply *reply;

/* What Redis would send so. */
static struct redisReply *parsed(const char *text)
{
    redisReader *reader = redisReaderCreate();
    void *made = NULL;
    if (reply)
        freeReplyObject(reply);
    assert_int_equal(redisReaderFeed(reader, text, strlen(text)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &made), REDIS_OK);
    assert_non_null(made);
    redisReaderFree(reader);
    reply = made;
    return reply;
}

static int forget(void **state)
{
    (void)state;
    if (reply)
        freeReplyObject(reply);
    reply = NULL;
    return 0;
}

/* Of every type, and of every shape but those that are meant. */
static const char *const odd[] = {
    "-ERR no\r\n",
    "+OK\r\n",
    ":7\r\n",
    "$0\r\n\r\n",
    "$3\r\nabc\r\n",
    "*0\r\n",
    "*1\r\n$-1\r\n",
    "*1\r\n:-1\r\n",
    "*1\r\n*1\r\n:1\r\n",
    "*2\r\n$1\r\n0\r\n$-1\r\n",
    "*2\r\n$1\r\nx\r\n*0\r\n",
    "*2\r\n$30\r\n000000000000000000000000000001\r\n*0\r\n",
    "*2\r\n:0\r\n*0\r\n",
    "*3\r\n:1\r\n:2\r\n:3\r\n",
    "*3\r\n$14\r\n8w979abcdefg-1\r\n:-1\r\n:0\r\n",
    "*3\r\n$14\r\n8w979abcdefg-0\r\n:1\r\n:0\r\n",
    "*3\r\n$14\r\n8w97aabcdefg-1\r\n:1\r\n:0\r\n",
    "*3\r\n$14\r\n8w979abcdefg+1\r\n:1\r\n:0\r\n",
    "*3\r\n$14\r\n8w979abcdefg-x\r\n:1\r\n:0\r\n",
    "*3\r\n$34\r\n8w979abcdefg-111111111111111111111\r\n:1\r\n:0\r\n",
    "*5\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n",
    "*5\r\n" EPOCH ":9\r\n:11\r\n:0\r\n:0\r\n",
    "*5\r\n" EPOCH ":9\r\n:0\r\n:0\r\n:0\r\n",
    "*5\r\n" EPOCH ":-1\r\n:0\r\n:0\r\n:0\r\n",
    "*5\r\n" OTHER ":9\r\n:4\r\n:0\r\n:0\r\n",
    "*5\r\n$7\r\ngarbage\r\n:9\r\n:4\r\n:0\r\n:0\r\n",
    "*5\r\n$12\r\n8w979ABCDEFG\r\n:9\r\n:4\r\n:0\r\n:0\r\n",
    "*9\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n",
    READING("$7\r\ngarbage\r\n", ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*0\r\n"),
    READING(OTHER, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*0\r\n"),
    READING(EPOCH, ":-9\r\n", ":4\r\n", "$0\r\n\r\n", "*0\r\n"),
    READING(EPOCH, ":9\r\n", ":0\r\n", "$0\r\n\r\n", "*0\r\n"),
    READING(EPOCH, ":9\r\n", ":11\r\n", "$0\r\n\r\n", "*0\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$-1\r\n", "*0\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$11\r\n8w979aaaaaa\r\n", "*0\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$25\r\n8w979aaaaaaa_8w979bbbbbbb\r\n", "*0\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "$0\r\n\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*1\r\n$3\r\n4-0\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*1\r\n*2\r\n$3\r\n4-0\r\n$-1\r\n"),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*1\r\n" ENTRY("$1\r\n4\r\n")),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*1\r\n" ENTRY("$3\r\n0-1\r\n")),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*1\r\n" ENTRY("$4\r\n10-0\r\n")),
    READING(EPOCH, ":9\r\n", ":4\r\n", "$0\r\n\r\n", "*2\r\n" ENTRY("$3\r\n5-0\r\n") ENTRY("$3\r\n4-0\r\n")),
};

static void test_an_answer_of_another_form_is_none(void **state)
{
    struct inspection inspection = {.name = "fuzz", .name_len = 4};
    struct published published;
    struct reading reading;
    const struct redisReply *keys;
    char cursor[ANSWER_CURSOR_MAX];
    uint64_t dropped;
    bool is_complete;
    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        const struct redisReply *made = parsed(odd[i]);
        assert_int_equal(answer_parse_reading(&reading, made, NAME), -EBADMSG);
        assert_int_equal(answer_parse_inspection(&inspection, made), -EBADMSG);
        assert_int_equal(answer_parse_purge(&dropped, made), -EBADMSG);
        assert_int_equal(answer_parse_published(&published, made, NAME, 0, false), -EBADMSG);
        assert_int_equal(answer_parse_found(&is_complete, made, 7), -EBADMSG);
        assert_int_equal(answer_parse_scan(&keys, cursor, made), -EBADMSG);
    }
    (void)parsed("$-1\r\n");
    assert_int_equal(answer_parse_reading(&reading, reply, NAME), -ENOENT);
    assert_int_equal(answer_parse_inspection(&inspection, reply), -ENOENT);
    assert_int_equal(answer_parse_purge(&dropped, reply), -ENOENT);
    assert_int_equal(answer_parse_published(&published, reply, NAME, 0, false), -EBADMSG);
}

static void test_a_reading(void **state)
{
    struct reading reading;
    (void)state;
    (void)parsed(READING(EPOCH, ":9\r\n", ":4\r\n", "$28\r\n8w979aaaaaaa-77 8w979bbbbbbb\r\n",
                         "*2\r\n" ENTRY("$3\r\n4-0\r\n") ENTRY("$3\r\n9-0\r\n")));
    assert_int_equal(answer_parse_reading(&reading, reply, NAME), 0);
    assert_memory_equal(reading.log.epoch.text, "8w979abcdefg", EPOCH_LEN);
    assert_int_equal(reading.reason, RESET_PURGED);
    assert_int_equal(reading.log.ancestry.count, 2);
    assert_memory_equal(reading.log.ancestry.forebears[0].epoch.text, "8w979aaaaaaa", EPOCH_LEN);
    assert_int_equal(reading.log.ancestry.forebears[0].shared, 77);
    assert_memory_equal(reading.log.ancestry.forebears[1].epoch.text, "8w979bbbbbbb", EPOCH_LEN);
    assert_true(reading.log.ancestry.forebears[1].is_doubtful);
    assert_int_equal(reading.log.top, 9);
    assert_int_equal(reading.log.oldest, 4);
    assert_int_equal(reading.now_ms, 1000);
    assert_int_equal(reading.last_published_ms, 900);
    assert_int_equal(reading.keep_ms, 500);
    assert_int_equal(reading.count, 2);
    assert_int_equal(reading.last, 9);
    (void)parsed(READING(EPOCH, ":9\r\n", ":10\r\n", "$0\r\n\r\n", "*0\r\n"));
    assert_int_equal(answer_parse_reading(&reading, reply, NAME), 0);
    assert_int_equal(reading.log.ancestry.count, 0);
    assert_int_equal(reading.last, 0);
}

static void test_a_reason_that_there_is_not(void **state)
{
    struct reading reading;
    (void)state;
    (void)parsed("*9\r\n" EPOCH ":9\r\n:10\r\n:1000\r\n$6\r\npurple\r\n$0\r\n\r\n:900\r\n:500\r\n*0\r\n");
    assert_int_equal(answer_parse_reading(&reading, reply, NAME), -EBADMSG);
}

static void test_nine_forebears_are_none_of_ours(void **state)
{
    struct reading reading;
    (void)state;
#define FOUR "8w979aaaaaaa 8w979aaaaaaa 8w979aaaaaaa 8w979aaaaaaa"
    (void)parsed(READING(EPOCH, ":9\r\n", ":4\r\n", "$103\r\n" FOUR " " FOUR "\r\n", "*0\r\n"));
    assert_int_equal(answer_parse_reading(&reading, reply, NAME), 0);
    assert_int_equal(reading.log.ancestry.count, 8);
    (void)parsed(READING(EPOCH, ":9\r\n", ":4\r\n", "$116\r\n" FOUR " " FOUR " 8w979aaaaaaa\r\n", "*0\r\n"));
    assert_int_equal(answer_parse_reading(&reading, reply, NAME), -EBADMSG);
}

static void test_an_inspection(void **state)
{
    struct inspection inspection = {.name = "fuzz", .name_len = 4, .bytes = 1};
    (void)state;
    (void)parsed("*5\r\n" EPOCH ":9\r\n:4\r\n:100\r\n:-5\r\n");
    assert_int_equal(answer_parse_inspection(&inspection, reply), -EBADMSG);
    assert_int_equal(inspection.bytes, 1);
    (void)parsed("*5\r\n" EPOCH ":9\r\n:4\r\n:100\r\n:500\r\n");
    assert_int_equal(answer_parse_inspection(&inspection, reply), 0);
    assert_int_equal(inspection.top, 9);
    assert_int_equal(inspection.oldest, 4);
    assert_int_equal(inspection.messages, 6);
    assert_int_equal(inspection.bytes, 100);
    assert_int_equal(inspection.last_published_ms, 500);
}

static void test_what_became_of_a_publish(void **state)
{
    struct published published;
    uint64_t dropped;
    (void)state;
    (void)parsed("*3\r\n$15\r\n8w979abcdefg-42\r\n:1700000000000\r\n:1\r\n");
    assert_int_equal(answer_parse_published(&published, reply, NAME, 0, false), 0);
    assert_int_equal(published.offset, 42);
    assert_int_equal(published.time_ms, 1700000000000);
    assert_true(published.is_duplicate);
    assert_int_equal(answer_parse_published(&published, reply, NAME, 2, false),
                     0); /* told of the first one only */
    assert_int_equal(answer_parse_published_in(&published, reply, 0, NAME), -ENOENT);
    (void)parsed("*4\r\n$14\r\n8w979abcdefg-0\r\n:1700000000000\r\n:0\r\n$14\r\n8w979abcdefg-7\r\n");
    assert_int_equal(answer_parse_published(&published, reply, NAME, 1, false), -EBADMSG);
    assert_int_equal(answer_parse_published(&published, reply, NAME, 1, true), 0);
    assert_int_equal(published.offset, 0);
    assert_int_equal(answer_parse_published(&published, reply, NAME, 2, false), -EBADMSG);
    assert_int_equal(answer_parse_published_in(&published, reply, 0, NAME), 0);
    assert_int_equal(published.offset, 7);
    assert_int_equal(answer_parse_published_in(&published, reply, 0, text_of("other")), -EBADMSG);
    assert_int_equal(answer_parse_published_in(&published, reply, 1, NAME), -ENOENT);
    (void)parsed("*1\r\n:17\r\n");
    assert_int_equal(answer_parse_purge(&dropped, reply), 0);
    assert_int_equal(dropped, 17);
}

static void test_what_is_found_of_lost_publishes(void **state)
{
    struct published published;
    bool is_complete;
    (void)state;
    (void)parsed("*6\r\n:1\r\n$19\r\n8w979abcdefg-42 100\r\n$0\r\n\r\n$-1\r\n$14\r\n8w979abcdefg-1\r\n"
                 "$34\r\n8w979abcdefg-1 9223372036854775808\r\n");
    assert_int_equal(answer_parse_found(&is_complete, reply, 4), -EBADMSG);
    assert_int_equal(answer_parse_found(&is_complete, reply, 5), 0);
    assert_true(is_complete);
    assert_int_equal(answer_parse_found_at(&published, reply, 0, NAME), 0);
    assert_int_equal(published.offset, 42);
    assert_int_equal(published.time_ms, 100);
    assert_false(published.is_duplicate);
    assert_int_equal(answer_parse_found_at(&published, reply, 1, NAME), -ENOENT);
    for (size_t i = 2; i < 5; i++)
        assert_int_equal(answer_parse_found_at(&published, reply, i, NAME), -EBADMSG);
    (void)parsed("*1\r\n:0\r\n");
    assert_int_equal(answer_parse_found(&is_complete, reply, 0), 0);
    assert_false(is_complete);
}

static void test_a_step_of_scan(void **state)
{
    const struct redisReply *keys;
    char cursor[ANSWER_CURSOR_MAX];
    size_t len;
    (void)state;
    (void)parsed("*2\r\n$7\r\n1048576\r\n*5\r\n$16\r\nsluice:{a}:m:a/b\r\n$16\r\nsluice:{a}:m:a//\r\n"
                 "$16\r\nsluice:{a}:s:a/b\r\n$1\r\nx\r\n:7\r\n");
    assert_int_equal(answer_parse_scan(&keys, cursor, reply), 0);
    assert_string_equal(cursor, "1048576");
    assert_int_equal(keys->elements, 5);
    assert_string_equal(answer_find_channel(keys->element[0], &len), "a/b");
    assert_int_equal(len, 3);
    for (size_t i = 1; i < 5; i++)
        assert_null(answer_find_channel(keys->element[i], &len));
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

static const struct CMUnitTest tests[] = {
    TEST(test_an_answer_of_another_form_is_none),
    TEST(test_a_reading),
    TEST(test_a_reason_that_there_is_not),
    TEST(test_nine_forebears_are_none_of_ours),
    TEST(test_an_inspection),
    TEST(test_what_became_of_a_publish),
    TEST(test_what_is_found_of_lost_publishes),
    TEST(test_a_step_of_scan),
};
UNIT_MAIN(tests)
