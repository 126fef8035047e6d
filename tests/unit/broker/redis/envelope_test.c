/* SPDX-License-Identifier: MIT */
#include "broker/redis/envelope.h"

#include <errno.h>
#include <string.h>

#include "broker/redis/answer.h"
#include "broker/redis/call.h"
#include "unit.h"

#define HEAD "sluice2 message fxrnz7bkz9yw 42 1700000000000 7 json 2 3 4 300000 5 4\n"

static int parse(struct envelope *envelope, const char *text)
{
    return envelope_parse(envelope, text, strlen(text));
}

static void test_a_message(void **state)
{
    struct envelope envelope;
    (void)state;
    assert_int_equal(parse(&envelope, HEAD "evpromimepricenews{\"a\":\"\n\"}"), 0);
    assert_int_equal(envelope.reason, RESET_NONE);
    assert_memory_equal(envelope.epoch.text, "fxrnz7bkz9yw", EPOCH_LEN);
    assert_int_equal(envelope.offset, 42);
    assert_int_equal(envelope.time_ms, 1700000000000);
    assert_int_equal(envelope.keep_ms, 7000);
    assert_int_equal(envelope.parts.type, MESSAGE_JSON);
    assert_memory_equal(envelope.parts.event.bytes, "ev", 2);
    assert_memory_equal(envelope.parts.producer.bytes, "pro", 3);
    assert_memory_equal(envelope.parts.mime.bytes, "mime", 4);
    assert_int_equal(envelope.parts.key.len, 5);
    assert_memory_equal(envelope.parts.key.bytes, "price", 5);
    assert_int_equal(envelope.parts.channel.len, 4);
    assert_memory_equal(envelope.parts.channel.bytes, "news", 4);
    assert_false(envelope.parts.is_transient);
    assert_int_equal(envelope.parts.size, 9);
    assert_memory_equal(envelope.parts.data, "{\"a\":\"\n\"}", 9);
}

static void test_a_transient_message_may_stand_before_the_first(void **state)
{
    struct envelope envelope;
    (void)state;
    assert_int_equal(parse(&envelope, "sluice2 transient fxrnz7bkz9yw 0 5 0 text 0 0 0 9 0 0\nx"), 0);
    assert_int_equal(envelope.reason, RESET_NONE);
    assert_true(envelope.parts.is_transient);
    assert_int_equal(envelope.offset, 0);
    assert_int_equal(envelope.mark.len, 0);
    assert_int_equal(parse(&envelope, "sluice2 transient fxrnz7bkz9yw 0 5 0 text 0 0 0 9 0 0 node.17\nx"), 0);
    assert_int_equal(envelope.mark.len, 7);
    assert_memory_equal(envelope.mark.bytes, "node.17", 7);
    assert_int_equal(envelope.parts.size, 1);
}

static void test_a_reset(void **state)
{
    struct envelope envelope;
    (void)state;
    assert_int_equal(parse(&envelope, "sluice2 purged fxrnz7bkz9yw 0 5 0 text 0 0 0 0 0 0\n"), 0);
    assert_int_equal(envelope.reason, RESET_PURGED);
    assert_int_equal(parse(&envelope, "sluice2 failover fxrnz7bkz9yw 9 5 0 text 0 0 0 0 0 0\n"), 0);
    assert_int_equal(envelope.reason, RESET_FAILOVER);
}

static void test_what_is_no_envelope_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "hello",
        "sluice2 message",
        "sluice1 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 0\n",
        "sluice2 none fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9y 1 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yI 1 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 0 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw -1 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 html 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 1 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 0",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 1 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 0 \n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 0 a b\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 256\n",
        "sluice2 message fxrnz7bkz9yw 18446744073709551616 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 99999999999999999999 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 18446744073709551615 1 0 0 0 0\n",
        "sluice2  message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0\n",
        "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 0 0\n"};
    struct envelope envelope;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(parse(&envelope, texts[i]), -EINVAL);
}

static void test_data_that_lies_about_its_type_is_mended(void **state)
{
    struct envelope envelope;
    (void)state;
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 json 0 0 0 9 0 0\n{"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.type, MESSAGE_TEXT);
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 9 0 0\n\xff"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.type, MESSAGE_BINARY);
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 2 0 0 9 0 0\na\rx"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.event.len, 0);
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 9 2 0\na\rx"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.key.len, 0);
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 0 0 0 9 0 2\na/x"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.channel.len, 0);
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 2 0 0 9 0 0\nabx"), 0);
    assert_false(envelope_mend(&envelope));
}

static void test_an_event_that_nobody_may_publish_is_left_out(void **state)
{
    struct envelope envelope;
    (void)state;
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 5 0 0 9 0 0\nresetx"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.event.len, 0);
    assert_int_equal(envelope.parts.size, 1);
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 4 0 0 9 0 0\nopenx"), 0);
    assert_true(envelope_mend(&envelope));
    assert_int_equal(parse(&envelope, "sluice2 message fxrnz7bkz9yw 1 5 0 text 6 0 0 9 0 0\nopenedx"), 0);
    assert_false(envelope_mend(&envelope));
    assert_int_equal(envelope.parts.event.len, 6);
}

static void *read_reply(redisReader *reader, const char *text)
{
    void *reply = NULL;
    redisReaderFeed(reader, text, strlen(text));
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    return reply;
}

static void test_an_entry_of_the_stream(void **state)
{
    redisReader *reader = redisReaderCreate();
    struct envelope envelope;
    (void)state;
    void *reply =
        read_reply(reader, "*2\r\n$3\r\n7-0\r\n*6\r\n$4\r\ntime\r\n$1\r\n5\r\n$4\r\ntype\r\n$4\r\ntext\r\n"
                           "$4\r\ndata\r\n$2\r\nhi\r\n");
    assert_int_equal(envelope_parse_entry(&envelope, reply, 1000), 0);
    assert_int_equal(envelope.offset, 7);
    assert_int_equal(envelope.time_ms, 5);
    assert_int_equal(envelope.keep_ms, 1000);
    assert_int_equal(envelope.parts.type, MESSAGE_TEXT);
    assert_memory_equal(envelope.parts.data, "hi", 2);
    freeReplyObject(reply);
    reply = read_reply(reader, "*2\r\n$3\r\n7-0\r\n*2\r\n$4\r\ntime\r\n$1\r\n5\r\n");
    assert_int_equal(envelope_parse_entry(&envelope, reply, 1000), -EINVAL);
    freeReplyObject(reply);
    redisReaderFree(reader);
}

/* The values of the Cluster specification, and that a tree is in one slot. */
static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(call_slot("123456789", 9), 12739);
    assert_int_equal(call_slot("foo", 3), 12182);
    assert_int_equal(call_slot("foo/bar/baz", 11), 12182);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_message),
    cmocka_unit_test(test_a_transient_message_may_stand_before_the_first),
    cmocka_unit_test(test_a_reset),
    cmocka_unit_test(test_what_is_no_envelope_is_refused),
    cmocka_unit_test(test_data_that_lies_about_its_type_is_mended),
    cmocka_unit_test(test_an_event_that_nobody_may_publish_is_left_out),
    cmocka_unit_test(test_an_entry_of_the_stream),
    cmocka_unit_test(test_slots),
};
UNIT_MAIN(tests)
