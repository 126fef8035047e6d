/* SPDX-License-Identifier: MIT */
#include "auth/revoked.h"

#include <errno.h>
#include <stdio.h>

#include "auth/auth.h"

#define NOW_MS INT64_C(1800000000000)

static struct revocation revocation_of(enum revocation_kind kind, const char *text, int64_t before_ms,
                                       int64_t until_ms)
{
    return (struct revocation){kind, text_of(text), before_ms, until_ms};
}

static bool has(const struct revoked *revoked, const char *subject, const char *id, int64_t issued_ms)
{
    struct grant *grant = grant_new(text_of(subject), text_of(id));
    grant->issued_ms = issued_ms;
    bool answer = revoked_has(revoked, grant);
    grant_unref(grant);
    return answer;
}

static void add(struct revoked *revoked, struct revocation revocation, int64_t now_ms)
{
    assert_int_equal(revoked_add(revoked, &revocation, now_ms), 0);
}

static void test_ids_and_subjects_do_not_mix(void **state)
{
    struct revoked *revoked = revoked_new();
    (void)state;
    add(revoked, revocation_of(REVOCATION_TOKEN, "x", NOW_MS, NOW_MS + 1), NOW_MS);
    assert_true(has(revoked, "", "x", INT64_MIN));
    assert_true(has(revoked, "y", "x", NOW_MS + 5)); /* an id is one token, whenever it was issued */
    assert_false(has(revoked, "x", "", INT64_MIN));
    assert_false(has(revoked, "", "", INT64_MIN));
    assert_false(has(revoked, "", "xx", INT64_MIN));
    revoked_free(revoked);
}

static void test_a_subject_is_revoked_up_to_the_latest_time(void **state)
{
    struct revoked *revoked = revoked_new();
    (void)state;
    add(revoked, revocation_of(REVOCATION_SUBJECT, "x", NOW_MS, NOW_MS + 1), NOW_MS);
    add(revoked, revocation_of(REVOCATION_SUBJECT, "x", NOW_MS - 1000, NOW_MS + 1), NOW_MS);
    assert_int_equal(revoked_count(revoked), 1);
    assert_true(has(revoked, "x", "", NOW_MS));
    assert_false(has(revoked, "x", "", NOW_MS + 1));
    add(revoked, revocation_of(REVOCATION_SUBJECT, "x", NOW_MS + 1, NOW_MS + 1), NOW_MS);
    assert_true(has(revoked, "x", "", NOW_MS + 1));
    revoked_free(revoked);
}

static void test_what_is_over_is_forgotten(void **state)
{
    struct revoked *revoked = revoked_new();
    (void)state;
    add(revoked, revocation_of(REVOCATION_TOKEN, "over", NOW_MS, NOW_MS), NOW_MS);
    assert_int_equal(revoked_count(revoked), 0);
    add(revoked, revocation_of(REVOCATION_TOKEN, "soon", NOW_MS, NOW_MS + 1000), NOW_MS);
    add(revoked, revocation_of(REVOCATION_TOKEN, "later", NOW_MS, NOW_MS + 3600000), NOW_MS);
    assert_int_equal(revoked_count(revoked), 2);
    add(revoked, revocation_of(REVOCATION_TOKEN, "new", NOW_MS, NOW_MS + 3600000), NOW_MS + 120000);
    assert_false(has(revoked, "", "soon", INT64_MIN));
    assert_true(has(revoked, "", "later", INT64_MIN));
    /* A clock that is set back does not stop it. */
    add(revoked, revocation_of(REVOCATION_TOKEN, "back", NOW_MS, NOW_MS + 1000), NOW_MS);
    add(revoked, revocation_of(REVOCATION_TOKEN, "again", NOW_MS, NOW_MS + 3600000), NOW_MS + 61000);
    assert_false(has(revoked, "", "back", INT64_MIN));
    revoked_free(revoked);
}

static void test_publisher_keys_are_not_meant(void **state)
{
    struct revoked *revoked = revoked_new();
    struct grant *grant = grant_new(text_of("shop"), text_of(""));
    const struct revocation revocation = revocation_of(REVOCATION_SUBJECT, "shop", NOW_MS, NOW_MS + 1);
    (void)state;
    add(revoked, revocation, NOW_MS);
    assert_true(revoked_has(revoked, grant) && revocation_means(&revocation, grant));
    grant->is_key = true;
    assert_false(revoked_has(revoked, grant) || revocation_means(&revocation, grant));
    grant_unref(grant);
    revoked_free(revoked);
}

static void test_they_are_bounded(void **state)
{
    struct revoked *revoked = revoked_new();
    char text[16];
    (void)state;
    for (unsigned i = 0; i < REVOKED_MAX; i++) {
        snprintf(text, sizeof(text), "%u", i);
        add(revoked, revocation_of(REVOCATION_TOKEN, text, NOW_MS, NOW_MS + 1), NOW_MS);
    }
    const struct revocation more = revocation_of(REVOCATION_TOKEN, "more", NOW_MS, NOW_MS + 1);
    assert_int_equal(revoked_add(revoked, &more, NOW_MS), -ENOSPC);
    assert_false(revoked_has_room(revoked, more.kind, more.text, NOW_MS));
    assert_true(revoked_has_room(revoked, REVOCATION_TOKEN, text_of("7"), NOW_MS));
    add(revoked, revocation_of(REVOCATION_TOKEN, "7", NOW_MS, NOW_MS + 3000), NOW_MS);
    /* Those that are over make room before they would be looked for. */
    assert_true(revoked_has_room(revoked, more.kind, more.text, NOW_MS + 2000));
    assert_int_equal(revoked_count(revoked), 1);
    revoked_free(revoked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_subjects_do_not_mix),
        cmocka_unit_test(test_a_subject_is_revoked_up_to_the_latest_time),
        cmocka_unit_test(test_what_is_over_is_forgotten),
        cmocka_unit_test(test_publisher_keys_are_not_meant),
        cmocka_unit_test(test_they_are_bounded),
    };
    return cmocka_run_group_tests(tests, auth_set_up, auth_tear_down);
}
