/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "core/message.h"
#include "render/render.h"

static unsigned rendered;

static struct rendering *render(const struct message *message, struct text channel, const struct epoch *epoch)
{
    rendered++;
    return render_json(message, channel, epoch);
}

static struct message *new_message(void)
{
    const struct message_parts parts = {.data = "data", .size = 4, .event = {"e", 1}};
    return message_new(&parts);
}

static void test_a_form_is_made_once_and_goes_with_its_message(void **state)
{
    const struct epoch epoch = epoch_of_name("a", 1);
    (void)state;
    uint64_t before = message_memory_bytes();
    rendered = 0;
    struct message *message = new_message();
    uint64_t bare = message_memory_bytes();
    assert_int_equal(bare - before, message->footprint);
    const struct rendering *form = message_form(message, FORM_JSON, text_of("a"), &epoch, render);
    assert_ptr_equal(message_form(message, FORM_JSON, text_of("a"), &epoch, render), form);
    assert_int_equal(rendered, 1);
    assert_int_equal(message_memory_bytes() - bare, sizeof(*form) + form->size);
    message_unref(message);
    assert_int_equal(message_memory_bytes(), before);
}

static void test_a_chunk_is_whole(void **state)
{
    const struct epoch epoch = epoch_of_name("a", 1);
    (void)state;
    struct message *message = new_message();
    struct rendering *form = render_sse(message, text_of("a"), &epoch);
    assert_memory_equal(form->bytes + form->size - 2, "\r\n", 2);
    assert_int_equal(form->size, form->payload_end + 2);
    free(form);
    message_unref(message);
}

static void test_a_message_lives_as_long_as_its_last_reference(void **state)
{
    (void)state;
    uint64_t before = message_memory_bytes();
    struct message *message = message_ref(new_message());
    message_unref(message);
    assert_memory_equal(message_data(message), "datae", 5);
    message_unref(message);
    assert_int_equal(message_memory_bytes(), before);
    message_unref(NULL);
}

static void expect_text(struct text text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.len);
}

static struct message *new_keyed(const char *event, const char *key)
{
    const struct message_parts parts = {
        .data = "data", .size = 4, .event = text_of(event), .mime = text_of("m"), .key = text_of(key)};
    return message_new(&parts);
}

static void test_the_entry_of_a_tree_has_the_bytes_of_the_message_that_it_keeps(void **state)
{
    (void)state;
    uint64_t before = message_memory_bytes();
    struct message *origin = new_keyed("e", "k");
    uint64_t bare = message_memory_bytes() - before;
    origin->time_ms = 5;
    struct message *entry = message_new_entry(origin, text_of("a/b"));
    assert_int_equal(entry->footprint, message_memory_bytes() - before);
    assert_int_equal(message_memory_bytes() - before - bare, sizeof(*entry) + 3);
    message_unref(origin);
    assert_memory_equal(message_data(entry), "data", 4);
    assert_memory_equal(message_event(entry), "e", 1);
    expect_text(message_key(entry), "k");
    expect_text(message_channel(entry), "a/b");
    assert_int_equal(entry->time_ms, 5);
    assert_int_equal(entry->key_hash, origin->key_hash);
    message_unref(entry);
    assert_int_equal(message_memory_bytes(), before);
}

static void test_a_message_says_its_own_channel_where_the_log_has_another_name(void **state)
{
    const struct message_parts parts = {
        .data = "d", .size = 1, .key = text_of("k"), .channel = text_of("a/b")};
    (void)state;
    struct message *message = message_new(&parts);
    expect_text(message_key(message), "k");
    expect_text(message_channel(message), "a/b");
    message_unref(message);
}

static void test_the_event_counts_as_the_key_of_a_message_without_one(void **state)
{
    (void)state;
    struct message *messages[] = {new_keyed("e", ""), new_keyed("x", "e"), new_keyed("", ""),
                                  new_keyed("e", "k")};
    assert_int_equal(messages[0]->key_hash, messages[1]->key_hash);
    assert_int_not_equal(messages[0]->key_hash, messages[2]->key_hash);
    assert_int_not_equal(messages[0]->key_hash, messages[3]->key_hash);
    expect_text(message_key(messages[0]), "");
    for (size_t i = 0; i < 4; i++)
        message_unref(messages[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_entry_of_a_tree_has_the_bytes_of_the_message_that_it_keeps),
    cmocka_unit_test(test_a_message_says_its_own_channel_where_the_log_has_another_name),
    cmocka_unit_test(test_the_event_counts_as_the_key_of_a_message_without_one),
    cmocka_unit_test(test_a_form_is_made_once_and_goes_with_its_message),
    cmocka_unit_test(test_a_chunk_is_whole),
    cmocka_unit_test(test_a_message_lives_as_long_as_its_last_reference),
};
UNIT_MAIN(tests)
