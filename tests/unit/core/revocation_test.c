/* SPDX-License-Identifier: MIT */
#include "core/revocation.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "unit.h"

static void test_revocation_is_read_as_it_was_written(void **state)
{
    static const struct {
        struct revocation revocation;
        const char *form;
    } rows[] = {
        {{REVOCATION_TOKEN, {"a b", 3}, 5, 7}, "7 token 5 a b"},
        {{REVOCATION_SUBJECT, {" x ", 3}, 0, INT64_MAX}, "9223372036854775807 subject 0  x "},
    };
    char form[REVOCATION_FORM_MAX];
    struct revocation read;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        size_t len = revocation_format(form, &rows[i].revocation);
        assert_int_equal(len, strlen(rows[i].form));
        assert_memory_equal(form, rows[i].form, len);
        assert_int_equal(revocation_parse(&read, (struct text){form, len}), 0);
        assert_int_equal(read.kind, rows[i].revocation.kind);
        assert_true(text_equals(read.text, rows[i].revocation.text));
        assert_int_equal(read.before_ms, rows[i].revocation.before_ms);
        assert_int_equal(read.until_ms, rows[i].revocation.until_ms);
    }
}

static void test_revocation_refuses_what_it_would_not_write(void **state)
{
    static const char *const forms[] = {
        "",
        "7",
        "7 token",
        "7 token 5",
        "7 token 5 ",
        "7 key 5 a",
        "-7 token 5 a",
        "7 token a",
        "7  5 a",
        " 7 token 5 a",
        "7 token -5 a",
        "7 Token 5 a",
        "x token 5 a",
        "9223372036854775808 token 5 a",
    };
    char longest[REVOCATION_FORM_MAX + 1] = "7 token 5 ";
    struct revocation revocation;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++)
        assert_int_not_equal(revocation_parse(&revocation, text_of(forms[i])), 0);
    memset(longest + 10, 'x', REVOCATION_TEXT_MAX);
    assert_int_equal(revocation_parse(&revocation, text_of(longest)), 0);
    longest[10 + REVOCATION_TEXT_MAX] = 'x';
    assert_int_not_equal(revocation_parse(&revocation, text_of(longest)), 0);
}

struct ear {
    struct revocation_listener listener;
    char heard[64];
};

static void ear_hear_end(struct revocation_listener *listener)
{
    strcat(container_of(listener, struct ear, listener)->heard, "end;");
}

static void ear_hear(struct revocation_listener *listener, const struct revocation *revocation)
{
    struct ear *ear = container_of(listener, struct ear, listener);
    size_t len = strlen(ear->heard);
    snprintf(ear->heard + len, sizeof(ear->heard) - len, "%.*s;", (int)revocation->text.len,
             revocation->text.bytes);
}

static void test_every_listener_hears_of_it_on_its_own_thread(void **state)
{
    struct revocation_listeners listeners = {0};
    struct mailbox mailboxes[3];
    struct ear ears[3] = {0};
    char text[] = "one";
    struct revocation revocation = {REVOCATION_TOKEN, {text, 3}, 1, 2};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(mailbox_init(&mailboxes[i]), 0);
        ears[i].listener.revoked = ear_hear;
        ears[i].listener.complete = ear_hear_end;
        assert_int_equal(revocation_listeners_add(&listeners, &mailboxes[i], &ears[i].listener), 0);
    }
    assert_int_equal(revocation_listeners_tell(&listeners, &revocation), 0);
    strcpy(text, "two"); /* each has a copy of its own */
    assert_int_equal(revocation_listeners_tell(&listeners, &revocation), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(ears[i].heard, "");
        mailbox_drain(&mailboxes[i]);
        assert_string_equal(ears[i].heard, "one;two;");
        mailbox_deinit(&mailboxes[i]);
    }
    revocation_listeners_deinit(&listeners);
}

static void test_a_listener_is_told_once_that_it_knows_all_that_is_kept(void **state)
{
    struct revocation_listeners listeners = {0};
    struct mailbox mailbox;
    struct ear ears[2] = {0};
    struct revocation revocation = {REVOCATION_TOKEN, {"x", 1}, 1, 2};
    (void)state;
    assert_int_equal(mailbox_init(&mailbox), 0);
    for (unsigned i = 0; i < 2; i++) {
        ears[i].listener.revoked = ear_hear;
        ears[i].listener.complete = ear_hear_end;
        assert_int_equal(revocation_listeners_add(&listeners, &mailbox, &ears[i].listener), 0);
        assert_int_equal(revocation_listeners_tell(&listeners, &revocation), 0);
        revocation_listeners_complete(&listeners);
        mailbox_drain(&mailbox);
    }
    assert_string_equal(ears[0].heard, "x;end;x;");
    assert_string_equal(ears[1].heard, "x;end;");
    mailbox_deinit(&mailbox);
    revocation_listeners_deinit(&listeners);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revocation_is_read_as_it_was_written),
        cmocka_unit_test(test_revocation_refuses_what_it_would_not_write),
        cmocka_unit_test(test_every_listener_hears_of_it_on_its_own_thread),
        cmocka_unit_test(test_a_listener_is_told_once_that_it_knows_all_that_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
