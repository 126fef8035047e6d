/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>

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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_form_is_made_once_and_goes_with_its_message),
    cmocka_unit_test(test_a_chunk_is_whole),
    cmocka_unit_test(test_a_message_lives_as_long_as_its_last_reference),
};
UNIT_MAIN(tests)
