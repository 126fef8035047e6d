/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "core/message.h"
#include "core/presence.h"
#include "core/roster.h"

/* What a broker does: keeps a log of what it is told, a character each. */
struct world {
    struct roster roster;
    struct timer_wheel wheel;
    uint64_t now_ms;
    uint64_t grace_ms;
    bool tells_at_once;
    char told[64];
};

static struct world *world_of(const struct roster *roster)
{
    return container_of(roster, struct world, roster);
}

static void note(struct roster_room *room, char what)
{
    struct world *world = world_of(room->roster);
    size_t len = strlen(world->told);
    if (len + 1 < sizeof(world->told))
        world->told[len] = what;
}

static void tell_all(struct roster_room *room)
{
    struct roster_member *member;
    while ((member = roster_first_changed(room))) {
        note(room, member->is_gone ? '-' : member->is_told ? '=' : '+');
        roster_told(member);
    }
}

static void resolve(const struct roster *roster, struct text name, struct roster_traits *traits)
{
    (void)name;
    *traits = (struct roster_traits){true, true, world_of(roster)->grace_ms};
}

static void nothing(struct roster_room *room)
{
    (void)room;
}

static void changed(struct roster_room *room)
{
    if (world_of(room->roster)->tells_at_once)
        tell_all(room);
}

static void occupied(struct roster_room *room)
{
    note(room, 'o');
}

static void vacated(struct roster_room *room)
{
    note(room, 'v');
}

static const struct roster_ops ops = {.resolve = resolve,
                                      .begun = nothing,
                                      .ended = nothing,
                                      .changed = changed,
                                      .occupied = occupied,
                                      .vacated = vacated};

static void world_begin(struct world *world, uint64_t grace_ms)
{
    *world = (struct world){.now_ms = 1000, .grace_ms = grace_ms, .tells_at_once = true};
    timer_wheel_init(&world->wheel, world->now_ms);
    roster_init(&world->roster, &ops, &world->wheel, &world->now_ms, sizeof(struct roster_room));
    world->roster.generation++;
}

static void pass(struct world *world, uint64_t ms)
{
    world->now_ms += ms;
    timer_wheel_run(&world->wheel, world->now_ms);
}

static void step(struct world *world, struct presence_request *request, enum presence_step what)
{
    request->step = what;
    assert_int_equal(roster_apply(&world->roster, request), ERROR_NONE);
}

static struct presence_request come(struct world *world, const char *name, const char *info)
{
    struct presence_request request = {.channel = text_of("room"),
                                       .persona = name ? persona_new(text_of(name), text_of(info)) : NULL};
    step(world, &request, PRESENCE_JOIN);
    return request;
}

static void go(struct world *world, struct presence_request *request)
{
    step(world, request, PRESENCE_LEAVE);
    persona_unref(request->persona);
}

static void test_one_person_over_three_connections_comes_and_goes_once(void **state)
{
    struct world world;
    struct presence_request tabs[3];
    (void)state;
    world_begin(&world, 100);
    for (size_t i = 0; i < ARRAY_LENGTH(tabs); i++)
        tabs[i] = come(&world, "ann", "");
    assert_int_equal(roster_find(&world.roster, text_of("room"))->count, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(tabs); i++)
        go(&world, &tabs[i]);
    assert_string_equal(world.told, "o+");
    pass(&world, 200);
    assert_string_equal(world.told, "o+-v");
    assert_null(roster_find(&world.roster, text_of("room")));
    roster_deinit(&world.roster);
}

static void test_who_is_back_within_the_grace_has_not_gone(void **state)
{
    struct world world;
    (void)state;
    world_begin(&world, 100);
    struct presence_request first = come(&world, "ann", "");
    int64_t since_ms = first.member->since_ms;
    go(&world, &first);
    pass(&world, 50);
    struct presence_request second = come(&world, "ann", "");
    pass(&world, 500);
    assert_string_equal(world.told, "o+");
    assert_int_equal(second.member->since_ms, since_ms);
    go(&world, &second);
    roster_deinit(&world.roster);
}

static void test_the_info_given_last_counts_and_none_leaves_it(void **state)
{
    struct world world;
    (void)state;
    world_begin(&world, 100);
    struct presence_request first = come(&world, "ann", "1");
    struct presence_request second = come(&world, "ann", "");
    struct presence_request third = come(&world, "ann", "2");
    assert_string_equal(world.told, "o+=");
    assert_true(text_is(persona_info(first.member->persona), "2"));
    go(&world, &third);
    assert_true(text_is(persona_info(first.member->persona), "2"));
    go(&world, &second);
    go(&world, &first);
    roster_deinit(&world.roster);
}

static void test_what_changes_before_it_is_told_is_told_once_as_it_is_then(void **state)
{
    struct world world;
    (void)state;
    world_begin(&world, 0);
    world.tells_at_once = false;
    struct presence_request ann = come(&world, "ann", "");
    struct roster_room *room = ann.room;
    go(&world, &ann);
    struct presence_request again = come(&world, "ann", "");
    struct presence_request bob = come(&world, "bob", "");
    go(&world, &bob);
    tell_all(room);
    assert_string_equal(world.told, "o+-");
    go(&world, &again);
    again = come(&world, "ann", "");
    tell_all(room);
    assert_string_equal(world.told, "o+-=");
    go(&world, &again);
    tell_all(room);
    assert_string_equal(world.told, "o+-=-");
    roster_deinit(&world.roster);
}

static void test_another_name_is_another_person(void **state)
{
    struct world world;
    (void)state;
    world_begin(&world, 0);
    struct presence_request request = come(&world, "ann", "");
    persona_unref(request.persona);
    request.persona = persona_new(text_of("anna"), text_of(""));
    step(&world, &request, PRESENCE_UPDATE);
    assert_string_equal(world.told, "o++-");
    assert_int_equal(request.room->count, 1);
    go(&world, &request);
    roster_deinit(&world.roster);
}

static void test_who_has_not_said_a_name_is_counted(void **state)
{
    struct world world;
    (void)state;
    world_begin(&world, 100);
    struct presence_request nobody = come(&world, NULL, "");
    struct presence_request empty = come(&world, "", "1");
    assert_int_equal(nobody.room->anonymous, 2);
    assert_int_equal(nobody.room->count, 0);
    go(&world, &nobody);
    go(&world, &empty);
    pass(&world, 200);
    assert_string_equal(world.told, "ov");
    roster_deinit(&world.roster);
}

/* As while Redis is away, or faster than it can be told. */
static void test_those_gone_of_whom_nobody_was_told_are_bounded(void **state)
{
    struct world world;
    char name[16];
    const uint64_t before = message_memory_bytes();
    (void)state;
    world_begin(&world, 0);
    world.tells_at_once = false;
    for (unsigned i = 0; i < PRESENCE_MEMBERS_MAX + 10; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        struct presence_request request = come(&world, name, "");
        assert_int_equal(request.member == NULL, i >= PRESENCE_MEMBERS_MAX);
        go(&world, &request);
    }
    assert_true(message_memory_bytes() - before > PRESENCE_MEMBERS_MAX * sizeof(struct roster_member));
    roster_deinit(&world.roster);
    assert_int_equal(message_memory_bytes(), before);
}

static void test_members_are_found_by_name_and_those_gone_are_not(void **state)
{
    static const char *const names[] = {"b", "a", "c", "ab"};
    static const char *const wanted[] = {"a", "b", "c"};
    struct world world;
    struct presence_request requests[ARRAY_LENGTH(names)];
    char name[PERSONA_NAME_MAX + 1] = "";
    (void)state;
    world_begin(&world, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        requests[i] = come(&world, names[i], "");
    world.tells_at_once = false;
    go(&world, &requests[3]);
    for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++) {
        assert_non_null(roster_next_member(requests[0].room, name, i == 0));
        assert_string_equal(name, wanted[i]);
    }
    assert_null(roster_next_member(requests[0].room, name, false));
    assert_int_equal(requests[0].room->known, 4); /* one of them until it is told that he has gone */
    world.tells_at_once = true;
    go(&world, &requests[1]);
    assert_int_equal(requests[0].room->known, 2);
    go(&world, &requests[0]);
    go(&world, &requests[2]);
    roster_deinit(&world.roster);
}

static void test_names_and_infos_are_checked(void **state)
{
    static const struct {
        const char *name;
        const char *info;
        enum error_code error;
    } cases[] = {
        {"ann", "{}", ERROR_NONE},
        {NULL, NULL, ERROR_NONE},
        {"\xc3\xa4", " [1,\n2] ", ERROR_NONE},
        {"", NULL, ERROR_BAD_OPTION},
        {"a\n", NULL, ERROR_BAD_OPTION},
        {"\xff", NULL, ERROR_BAD_OPTION},
        {"a\x7f", NULL, ERROR_BAD_OPTION},
        {"a", "", ERROR_BAD_OPTION},
        {"a", "{", ERROR_BAD_OPTION},
        {"a", "1 2", ERROR_BAD_OPTION},
    };
    char fault[PERSONA_FAULT_MAX];
    char long_name[PERSONA_NAME_MAX + 2];
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct text info = cases[i].info ? text_of(cases[i].info) : (struct text){0};
        const struct text name = cases[i].name ? text_of(cases[i].name) : (struct text){0};
        if (persona_check(name, &info, fault) != cases[i].error)
            fail_msg("%s %s", cases[i].name, cases[i].info);
    }
    char long_info[PERSONA_INFO_MAX + 2] = "";
    memset(long_info, '1', sizeof(long_info) - 1);
    struct text longest = {long_info, PERSONA_INFO_MAX};
    struct text too_long = {long_info, PERSONA_INFO_MAX + 1};
    assert_int_equal(persona_check(text_of("a"), &longest, fault), ERROR_NONE);
    assert_int_equal(persona_check(text_of("a"), &too_long, fault), ERROR_BAD_OPTION);
    struct text none = {0};
    memset(long_name, 'x', sizeof(long_name));
    assert_int_equal(persona_check((struct text){long_name, PERSONA_NAME_MAX}, &none, fault), ERROR_NONE);
    assert_int_equal(persona_check((struct text){long_name, PERSONA_NAME_MAX + 1}, &none, fault),
                     ERROR_BAD_OPTION);
}

static void test_an_info_is_one_line(void **state)
{
    struct persona *persona = persona_new(text_of("a"), text_of("[1,\n\t2]"));
    (void)state;
    assert_true(text_is(persona_info(persona), "[1,  2]"));
    persona_unref(persona);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_one_person_over_three_connections_comes_and_goes_once),
    cmocka_unit_test(test_who_is_back_within_the_grace_has_not_gone),
    cmocka_unit_test(test_the_info_given_last_counts_and_none_leaves_it),
    cmocka_unit_test(test_what_changes_before_it_is_told_is_told_once_as_it_is_then),
    cmocka_unit_test(test_another_name_is_another_person),
    cmocka_unit_test(test_who_has_not_said_a_name_is_counted),
    cmocka_unit_test(test_those_gone_of_whom_nobody_was_told_are_bounded),
    cmocka_unit_test(test_members_are_found_by_name_and_those_gone_are_not),
    cmocka_unit_test(test_names_and_infos_are_checked),
    cmocka_unit_test(test_an_info_is_one_line),
};
UNIT_MAIN(tests)
