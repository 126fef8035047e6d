/* SPDX-License-Identifier: MIT */
/* Conversations on the memory broker, which answers in the call or when the test says so. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>

#include "base/json_scan.h"
#include "carrier.h"
#include "failing.h"

static struct carrier carrier;

static int take(const char *text)
{
    int err = conversation_take(&carrier.conversation, text, strlen(text));
    shard_turn();
    return err;
}

static char *lines(void)
{
    buf_append_char(&carrier.lines, '\0');
    return carrier.lines.bytes;
}

/* A star in the pattern stands for anything. */
static bool fits(const char *pattern, const char *text)
{
    if (*pattern != '*')
        return *pattern == *text && (*text == '\0' || fits(pattern + 1, text + 1));
    return fits(pattern + 1, text) || (*text != '\0' && fits(pattern, text + 1));
}

/* What has been said and told since the last look: a line for each pattern. */
static void expect(const char *const *patterns, size_t count)
{
    char *rest = lines();
    for (size_t i = 0; i < count; i++) {
        char *end = strchr(rest, '\n');
        if (!end)
            fail_msg("nothing more where '%s' was expected", patterns[i]);
        *end = '\0';
        if (!fits(patterns[i], rest))
            fail_msg("'%s' in the place of '%s'", rest, patterns[i]);
        rest = end + 1;
    }
    if (*rest)
        fail_msg("also '%s'", rest);
    carrier.lines.len = 0;
}

#define EXPECT(...)                                                                                          \
    expect((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
#define EXPECT_NOTHING() expect(NULL, 0)

static size_t count_of(const char *part)
{
    size_t count = 0;
    for (const char *at = lines(); (at = strstr(at, part)); at++)
        count++;
    carrier.lines.len--;
    return count;
}

static int begin(void **state)
{
    int err = shard_begin(state);
    carrier_begin(&carrier);
    return err;
}

static int end(void **state)
{
    carrier_end(&carrier);
    return shard_end(state);
}

static void publish(const char *channel, const char *data)
{
    char text[256];
    struct carrier other;
    carrier_begin(&other);
    snprintf(text, sizeof(text), "{\"op\":\"publish\",\"channel\":\"%s\",\"data\":\"%s\"}", channel, data);
    assert_int_equal(conversation_take(&other.conversation, text, strlen(text)), 0);
    shard_turn();
    carrier_end(&other);
}

static void carrier_feed(struct carrier *to, const char *name)
{
    static struct channel_name names[1];
    static const struct name_list feed = {1, names};
    char fault[AUTH_FAULT_MAX];
    names[0].len = (uint8_t)strlen(name);
    memcpy(names[0].text, name, strlen(name) + 1);
    assert_int_equal(conversation_feed(&to->conversation, &feed, fault), ERROR_NONE);
}

static void test_an_answer_comes_before_what_it_announces(void **state)
{
    (void)state;
    publish("a", "1");
    take("{\"op\":\"subscribe\",\"ref\":\"s\",\"channels\":[\"a\",\"b\"],\"since\":\"earliest\"}");
    EXPECT("{\"op\":\"subscribed\",\"ref\":\"s\",\"channels\":[\"a\",\"b\"],\"cursor\":\"*-0\",\"recovered\":"
           "false}",
           "{\"op\":\"message\",\"channel\":\"a\",*,\"type\":\"text\",\"data\":\"1\"}");
    publish("b", "2");
    take("{\"op\":\"unsubscribe\",\"ref\":2,\"channel\":\"b\"}");
    publish("b", "3");
    EXPECT("{\"op\":\"message\",\"channel\":\"b\",*,\"data\":\"2\"}",
           "{\"op\":\"unsubscribed\",\"ref\":2,\"channels\":[\"b\"]}");
}

static void test_a_subscribe_waits_for_all_of_its_channels(void **state)
{
    (void)state;
    publish("a", "1");
    is_slow = true;
    take("{\"op\":\"subscribe\",\"ref\":1,\"channels\":[\"b\",\"c\"]}");
    take("{\"op\":\"subscribe\",\"ref\":2,\"channel\":\"a\",\"since\":\"earliest\"}");
    take("{\"op\":\"ping\"}");
    EXPECT("{\"op\":\"pong\"}");
    assert_false(errands_are_idle(&carrier.conversation.errands));
    slow_answer(1, ERROR_NONE);
    EXPECT_NOTHING();
    slow_answer(2, ERROR_NONE);
    EXPECT("{\"op\":\"subscribed\",\"ref\":2,\"channels\":[\"a\"],*",
           "{\"op\":\"message\",\"channel\":\"a\",*");
    assert_int_equal(carrier.idle_count, 0);
    slow_answer(0, ERROR_NONE);
    EXPECT("{\"op\":\"subscribed\",\"ref\":1,\"channels\":[\"b\",\"c\"],*");
    assert_true(errands_are_idle(&carrier.conversation.errands));
    assert_true(carrier.idle_count > 0);
    slow_count = 0;
}

static void test_a_publish_waits_for_the_subscriptions_before_it(void **state)
{
    static const char publish_to_a[] = "{\"op\":\"publish\",\"channel\":\"a\",\"data\":\"x\"}";
    (void)state;
    is_slow = true;
    take("{\"op\":\"subscribe\",\"channels\":[\"a\",\"b\"]}");
    carrier_feed(&carrier, "c");
    assert_int_equal(take(publish_to_a), -EAGAIN);
    assert_int_equal(take("{\"op\":\"ping\"}"), 0);
    EXPECT("{\"op\":\"pong\"}");
    slow_answer(0, ERROR_NONE);
    slow_answer(1, ERROR_NONE);
    assert_int_equal(carrier.ready_count, 0);
    assert_int_equal(take(publish_to_a), -EAGAIN);
    slow_answer(2, ERROR_NONE);
    assert_int_equal(carrier.ready_count, 1);
    slow_count = 0;
    is_slow = false;
    carrier.lines.len = 0;
    assert_int_equal(take(publish_to_a), 0);
    assert_int_equal(count_of("\"op\":\"published\"") + count_of("\"op\":\"message\""), 2);
}

static void test_a_publish_goes_on_when_a_subscription_fails(void **state)
{
    static const char publish_to_b[] = "{\"op\":\"publish\",\"channel\":\"b\",\"data\":\"x\"}";
    (void)state;
    is_slow = true;
    carrier_feed(&carrier, "a");
    assert_int_equal(take(publish_to_b), -EAGAIN);
    slow_answer(0, ERROR_BROKER_REFUSED);
    assert_int_equal(carrier.ready_count, 1);
    assert_int_equal(take(publish_to_b), 0);
    is_away = true;
    carrier_feed(&carrier, "c");
    assert_int_equal(take(publish_to_b), 0);
}

static void test_one_channel_that_fails_fails_all(void **state)
{
    (void)state;
    is_slow = true;
    take("{\"op\":\"subscribe\",\"ref\":1,\"channels\":[\"a\",\"b\",\"c\"]}");
    slow_answer(0, ERROR_NONE);
    slow_answer(1, ERROR_MEMORY_LIMIT);
    EXPECT("{\"op\":\"error\",\"ref\":1,\"code\":\"memory-limit\",*");
    slow_answer(2, ERROR_NONE);
    slow_count = 0;
    publish("a", "1");
    publish("c", "1");
    slow_answer_all();
    EXPECT_NOTHING();
    assert_int_equal(carrier.conversation.subscription_count, 0);
}

static void test_a_feed_that_fails_is_said(void **state)
{
    (void)state;
    is_slow = true;
    carrier_feed(&carrier, "a");
    slow_answer(0, ERROR_MEMORY_LIMIT);
    slow_count = 0;
    EXPECT("{\"op\":\"error\",\"code\":\"memory-limit\",*");
}

static void test_unsubscribing_what_is_not_in_place(void **state)
{
    (void)state;
    is_slow = true;
    take("{\"op\":\"subscribe\",\"ref\":1,\"channels\":[\"a\",\"b\"]}");
    take("{\"op\":\"unsubscribe\",\"ref\":2,\"channel\":\"a\"}");
    EXPECT("{\"op\":\"unsubscribed\",\"ref\":2,\"channels\":[\"a\"]}");
    slow_answer(1, ERROR_NONE);
    EXPECT("{\"op\":\"subscribed\",\"ref\":1,\"channels\":[\"b\"],*");
    take("{\"op\":\"subscribe\",\"ref\":3,\"channel\":\"c\"}");
    take("{\"op\":\"unsubscribe\",\"ref\":4}");
    EXPECT("{\"op\":\"error\",\"ref\":3,\"code\":\"unsubscribed\",*",
           "{\"op\":\"unsubscribed\",\"ref\":4,\"channels\":[\"b\",\"c\"]}");
    /* One that has come is taken out while another is still on its way. */
    take("{\"op\":\"subscribe\",\"ref\":5,\"channels\":[\"d\",\"e\"]}");
    slow_answer(slow_count - 2, ERROR_NONE);
    take("{\"op\":\"unsubscribe\",\"ref\":6,\"channel\":\"d\"}");
    EXPECT("{\"op\":\"unsubscribed\",\"ref\":6,\"channels\":[\"d\"]}");
    slow_answer(slow_count - 1, ERROR_NONE);
    EXPECT("{\"op\":\"subscribed\",\"ref\":5,\"channels\":[\"e\"],*");
}

static void test_publishes_are_answered_in_order_whatever_the_broker_does(void **state)
{
    (void)state;
    is_slow = true;
    for (int i = 0; i < 4; i++)
        take("{\"op\":\"publish\",\"ref\":1,\"channel\":\"a\",\"data\":1}");
    take("{\"op\":\"publish\",\"ref\":2,\"channel\":\"a\",\"data\":1,\"event\":\"\"}");
    slow_answer(3, ERROR_NONE);
    slow_answer(1, ERROR_BROKER_DOWN);
    EXPECT_NOTHING();
    slow_answer(0, ERROR_NONE);
    EXPECT("{\"op\":\"published\",\"ref\":1,*-2\",*}",
           "{\"op\":\"error\",\"ref\":1,\"code\":\"broker-down\",*");
    slow_answer(2, ERROR_NONE);
    EXPECT("{\"op\":\"published\",\"ref\":1,*-3\",*}", "{\"op\":\"published\",\"ref\":1,*-1\",*}",
           "{\"op\":\"error\",\"ref\":2,\"code\":\"bad-option\",*");
    slow_count = 0;
}

static void test_so_many_commands_are_on_their_way_at_most(void **state)
{
    (void)state;
    is_slow = true;
    for (unsigned i = 0; i < ERRANDS_COUNT_MAX; i++)
        assert_int_equal(take("{\"op\":\"publish\",\"channel\":\"a\",\"data\":1}"), 0);
    assert_int_equal(take("{\"op\":\"ping\"}"), -EAGAIN);
    EXPECT_NOTHING();
    for (unsigned i = 0; i < ERRANDS_COUNT_MAX / 2; i++) {
        assert_int_equal(carrier.ready_count, 0);
        slow_answer(i, ERROR_NONE);
    }
    slow_answer(ERRANDS_COUNT_MAX / 2, ERROR_NONE);
    assert_int_equal(carrier.ready_count, 1);
    assert_int_equal(take("{\"op\":\"ping\"}"), 0);
    slow_answer_all();
    assert_int_equal(carrier.ready_count, 1);
    assert_int_equal(count_of("\"published\""), ERRANDS_COUNT_MAX);
}

static void test_so_many_bytes_are_on_their_way_at_most(void **state)
{
    const size_t size = ERRANDS_BYTES_MAX / 4;
    struct buf text = {0};
    (void)state;
    options->message_size_bytes = ERRANDS_BYTES_MAX;
    is_slow = true;
    buf_append_text(&text, "{\"op\":\"publish\",\"channel\":\"a\",\"data\":\"");
    for (size_t i = 0; i < size; i++)
        buf_append_char(&text, 'x');
    buf_append_text(&text, "\"}");
    for (int i = 0; i < 4; i++)
        assert_int_equal(conversation_take(&carrier.conversation, text.bytes, text.len), 0);
    assert_int_equal(take("{\"op\":\"ping\"}"), -EAGAIN);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(carrier.ready_count, 0);
        slow_answer(i, ERROR_NONE);
    }
    assert_int_equal(carrier.ready_count, 1);
    buf_deinit(&text);
}

static void test_four_histories_are_read_at_once(void **state)
{
    (void)state;
    is_slow = true;
    for (int i = 0; i < 4; i++)
        assert_int_equal(take("{\"op\":\"history\",\"channel\":\"a\"}"), 0);
    assert_int_equal(take("{\"op\":\"history\",\"channel\":\"a\"}"), -EAGAIN);
    slow_answer_all();
    assert_int_equal(count_of("\"messages\":[]"), 4);
    assert_int_equal(carrier.ready_count, 1);
}

static void test_a_carrier_that_is_away_is_told_nothing(void **state)
{
    (void)state;
    take("{\"op\":\"subscribe\",\"channel\":\"a\"}");
    conversation_block(&carrier.conversation);
    take("{\"op\":\"subscribe\",\"channel\":\"b\",\"since\":\"earliest\"}");
    carrier_feed(&carrier, "c");
    publish("a", "1");
    publish("b", "2");
    publish("c", "3");
    EXPECT("{\"op\":\"subscribed\",\"channels\":[\"a\"],*", "{\"op\":\"subscribed\",\"channels\":[\"b\"],*");
    assert_false(conversation_is_told(&carrier.conversation));
    conversation_unblock(&carrier.conversation);
    shard_turn();
    assert_true(conversation_is_told(&carrier.conversation));
    assert_int_equal(count_of("\"message\""), 3);
}

static void test_unblocking_goes_on_with_what_a_full_carrier_left(void **state)
{
    (void)state;
    take("{\"op\":\"subscribe\",\"channel\":\"a\"}");
    carrier.is_full = true;
    publish("a", "1");
    assert_int_equal(count_of("\"message\""), 0);
    carrier.is_full = false;
    publish("a", "2");
    assert_int_equal(count_of("\"message\""), 0);
    conversation_unblock(&carrier.conversation);
    shard_turn();
    assert_int_equal(count_of("\"message\""), 2);
}

static void test_what_is_on_its_way_outlives_its_conversation(void **state)
{
    (void)state;
    is_slow = true;
    take("{\"op\":\"publish\",\"channel\":\"a\",\"data\":1}");
    take("{\"op\":\"publish\",\"channel\":\"b\",\"data\":1}");
    slow_answer(slow_count - 1, ERROR_NONE);
    take("{\"op\":\"subscribe\",\"channels\":[\"a\",\"b\"]}");
    slow_answer(slow_count - 2, ERROR_NONE);
    take("{\"op\":\"history\",\"channel\":\"b\"}");
    take("{\"op\":\"history\",\"channel\":\"c\"}");
    conversation_deinit(&carrier.conversation);
    slow_answer_all();
    EXPECT_NOTHING();
    assert_int_equal(carrier.idle_count, 0);
}

static unsigned fill(const char *channel, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        publish(channel, "x");
    return count;
}

static void purge(const char *channel)
{
    struct inspect_request request = {.super.operation = BROKER_PURGE, .super.reply_to = &shard.mailbox};
    request.channel.name_len = (uint8_t)strlen(channel);
    memcpy(request.channel.name, channel, strlen(channel));
    assert_true(memory->ops->submit(memory, &request.super));
    shard_turn();
}

static void test_a_purge_in_the_middle_of_a_history_is_told(void **state)
{
    (void)state;
    fill("a", 3000);
    take("{\"op\":\"subscribe\",\"channel\":\"a\"}");
    carrier.lines.len = 0;
    is_slow = true;
    take("{\"op\":\"history\",\"ref\":1,\"channel\":\"a\"}");
    assert_int_equal(slow_count, 1);
    slow_answer(0, ERROR_NONE); /* the first page; the next one is asked for */
    EXPECT_NOTHING();
    purge("a");
    slow_answer_all();
    slow_answer_all();
    assert_int_equal(count_of("\"op\":\"reset\",\"channel\":\"a\",\"reason\":\"purged\""), 1);
    assert_int_equal(count_of("\"op\":\"history\",\"ref\":1"), 1);
    assert_int_equal(count_of("\"more\":true}"), 1);
    assert_true(errands_are_idle(&carrier.conversation.errands));
}

static void test_a_long_history_is_read_in_pages(void **state)
{
    (void)state;
    fill("a", 3000);
    take("{\"op\":\"history\",\"ref\":1,\"channel\":\"a\",\"limit\":2500}");
    assert_int_equal(count_of("\"id\""), 2500);
    assert_int_equal(count_of("\"more\":true}"), 1);
    carrier.lines.len = 0;
    take("{\"op\":\"history\",\"ref\":1,\"channel\":\"a\",\"last\":2500}");
    assert_int_equal(count_of("\"id\""), 2500);
    assert_int_equal(count_of("\"more\":true}"), 0);
}

static void test_the_answer_tells_of_a_gap_that_has_to_be_read(void **state)
{
    char text[256];
    char *cursor;
    (void)state;
    fill("a", 2000);
    take("{\"op\":\"history\",\"channel\":\"a\",\"limit\":1}");
    cursor = strstr(lines(), "\"cursor\":\"") + 10;
    snprintf(text, sizeof(text), "{\"op\":\"subscribe\",\"channel\":\"a\",\"since\":\"%.13s600\"}", cursor);
    carrier.lines.len = 0;
    is_slow = true;
    take(text);
    EXPECT_NOTHING(); /* what comes right after the cursor is not known yet */
    slow_answer_all();
    slow_answer_all();
    assert_int_equal(count_of("\"recovered\":true"), 1);
    while (slow_count > 0)
        slow_answer_all();
    assert_int_equal(count_of("\"op\":\"message\""), 1400);
}

/* Memory. */

static void check_lines(void)
{
    char fault[JSON_FAULT_MAX];
    struct text value;
    char *rest = lines();
    for (char *next; (next = strchr(rest, '\n')); rest = next + 1)
        if (json_scan(&value, rest, (size_t)(next - rest), fault))
            fail_msg("%s: %.*s", fault, (int)(next - rest), rest);
    carrier.lines.len--;
}

static void test_every_allocation_may_fail(void **state)
{
    static const char *const texts[] = {
        "{\"op\":\"sub\\u0073cribe\",\"ref\":1,\"channels\":[\"a\\/b\",\"b\",\"c\"],\"since\":\"earliest\"}",
        "{\"op\":\"publish\",\"ref\":2,\"channel\":\"a\\/b\",\"data\":\"\\u00e9\",\"event\":\"\\u00e9\"}",
        "{\"op\":\"publish\",\"ref\":3,\"channel\":\"b\",\"data\":\"AAAA\",\"type\":\"binary\"}",
        "{\"op\":\"publish\",\"ref\":4,\"channel\":\"b\",\"data\":1,\"x\":2}",
        "{\"op\":\"history\",\"ref\":5,\"channel\":\"a\\/b\"}",
        "{\"op\":\"unsubscribe\",\"ref\":6,\"channels\":[\"a\\/b\",\"d\"]}",
        "{\"op\":\"unsubscribe\",\"ref\":7}",
        "{\"op\":\"ping\",\"ref\":8}",
    };
    unsigned answered = 0;
    for (long fails_at = 1; answered < 8; fails_at++) {
        assert_true(fails_at < 1000);
        end(state);
        begin(state);
        buf_reserve(&carrier.lines, 65536); /* the carrier's own memory is its own matter */
        memory_fails_at = fails_at;
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
            assert_int_equal(take(texts[i]), 0);
        bool has_failed = memory_fails_at == 0;
        memory_fails_at = 0;
        check_lines();
        /* Every command is answered, and by an error only where memory was out. */
        size_t count = count_of("\"ref\":") + count_of("{\"op\":\"error\",\"code\":\"out-of-memory\"");
        assert_int_equal(count, sizeof(texts) / sizeof(texts[0]));
        answered = has_failed ? 0 : 8;
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_an_answer_comes_before_what_it_announces, begin, end),
    cmocka_unit_test_setup_teardown(test_a_subscribe_waits_for_all_of_its_channels, begin, end),
    cmocka_unit_test_setup_teardown(test_one_channel_that_fails_fails_all, begin, end),
    cmocka_unit_test_setup_teardown(test_a_publish_waits_for_the_subscriptions_before_it, begin, end),
    cmocka_unit_test_setup_teardown(test_a_publish_goes_on_when_a_subscription_fails, begin, end),
    cmocka_unit_test_setup_teardown(test_a_feed_that_fails_is_said, begin, end),
    cmocka_unit_test_setup_teardown(test_unsubscribing_what_is_not_in_place, begin, end),
    cmocka_unit_test_setup_teardown(test_publishes_are_answered_in_order_whatever_the_broker_does, begin,
                                    end),
    cmocka_unit_test_setup_teardown(test_so_many_commands_are_on_their_way_at_most, begin, end),
    cmocka_unit_test_setup_teardown(test_so_many_bytes_are_on_their_way_at_most, begin, end),
    cmocka_unit_test_setup_teardown(test_four_histories_are_read_at_once, begin, end),
    cmocka_unit_test_setup_teardown(test_a_carrier_that_is_away_is_told_nothing, begin, end),
    cmocka_unit_test_setup_teardown(test_unblocking_goes_on_with_what_a_full_carrier_left, begin, end),
    cmocka_unit_test_setup_teardown(test_what_is_on_its_way_outlives_its_conversation, begin, end),
    cmocka_unit_test_setup_teardown(test_a_purge_in_the_middle_of_a_history_is_told, begin, end),
    cmocka_unit_test_setup_teardown(test_a_long_history_is_read_in_pages, begin, end),
    cmocka_unit_test_setup_teardown(test_the_answer_tells_of_a_gap_that_has_to_be_read, begin, end),
    cmocka_unit_test_setup_teardown(test_every_allocation_may_fail, begin, end),
};

UNIT_MAIN(tests)
