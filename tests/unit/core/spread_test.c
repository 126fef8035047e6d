/* SPDX-License-Identifier: MIT */
/* Who follows what is below a wild name: what is looked for, what is told, and what a cursor says of it. */

#include "unit.h"

#include <stdio.h>

#include "core/hub_world.h"
#include "core/watcher.h"
#include "failing.h"

#define NAMES_MOST 80u

/* The logs that the test's broker has been asked to attach. */
static struct log_of {
    char name[16];
    struct channel *channel;
    struct epoch epoch;
} logs[NAMES_MOST];
static unsigned log_count;

struct follower {
    struct subscriber subscriber;
    char told[512]; /* NAME:OFFSET and NAME!REASON, a space behind each */
    unsigned woken;
    unsigned begun;
    unsigned searched;
    bool is_lazy;      /* does not read by itself */
    const char *other; /* the channel that it may not follow, for this reason */
    enum error_code why;
    enum error_code failed;
};

static struct follower *follower_of(struct subscriber *subscriber)
{
    return container_of(subscriber, struct follower, subscriber);
}

static size_t read_some(struct follower *follower, size_t most)
{
    struct delivery deliveries[8];
    size_t count = subscriber_read(&follower->subscriber, deliveries, most);
    for (size_t i = 0; i < count; i++) {
        const struct text name = subscription_channel(deliveries[i].subscription);
        char *end = strchr(follower->told, '\0');
        size_t room = sizeof(follower->told) - (size_t)(end - follower->told);
        if (deliveries[i].message)
            snprintf(end, room, "%.*s:%u ", (int)name.len, name.bytes,
                     (unsigned)deliveries[i].message->offset);
        else
            snprintf(end, room, "%.*s!%s ", (int)name.len, name.bytes,
                     reset_reason_word(deliveries[i].reset));
        subscriber_advance(&deliveries[i]);
    }
    return count;
}

static void follower_wake(struct subscriber *subscriber, bool is_first)
{
    struct follower *follower = follower_of(subscriber);
    follower->woken++;
    follower->begun += is_first;
    while (!follower->is_lazy && read_some(follower, 8) > 0)
        ;
}

static void follower_fail(struct subscriber *subscriber, enum error_code error)
{
    follower_of(subscriber)->failed = error;
}

static enum error_code follower_admits(struct subscriber *subscriber, struct text channel)
{
    const struct follower *follower = follower_of(subscriber);
    return follower->other && text_is(channel, follower->other) ? follower->why : ERROR_NONE;
}

static void follower_searched(struct subscriber *subscriber)
{
    follower_of(subscriber)->searched++;
}

static const struct subscriber_ops follower_ops = {
    .wake = follower_wake, .fail = follower_fail, .admits = follower_admits, .searched = follower_searched};

/* The oldest request of that kind that has no answer yet, and is for that name; any name when it is NULL. */
static struct broker_request *find_asked(enum broker_operation operation, const char *name)
{
    for (unsigned i = 0; i < asked_count; i++) {
        const struct attach_request *attach = container_of(asked[i], struct attach_request, super);
        const struct history_request *history = container_of(asked[i], struct history_request, super);
        if (asked[i]->operation == operation &&
            (!name || text_is(operation == BROKER_HISTORY ? history->name : attach->name, name)))
            return asked[i];
    }
    return NULL;
}

static void answer_asked(struct broker_request *request, enum error_code error)
{
    unsigned i = 0;
    while (asked[i] != request)
        i++;
    memmove(&asked[i], &asked[i + 1], (--asked_count - i) * sizeof(asked[0]));
    broker_answer(request, error);
    mailbox_drain(&mailbox);
}

static struct log_of *log_named(const char *name)
{
    for (unsigned i = 0; i < log_count; i++)
        if (strcmp(logs[i].name, name) == 0)
            return &logs[i];
    assert_true(log_count < NAMES_MOST);
    struct log_of *log = &logs[log_count++];
    snprintf(log->name, sizeof(log->name), "%s", name);
    log->epoch = epoch_new(name, strlen(name));
    return log;
}

/* The log has the messages `oldest` to `top`, those from `tail_from` on in the answer. */
static void attach_kept(const char *name, uint64_t top, uint64_t oldest, uint64_t tail_from)
{
    struct log_of *log = log_named(name);
    struct broker_request *request = find_asked(BROKER_ATTACH, name);
    assert_non_null(request);
    struct attach_request *attach = container_of(request, struct attach_request, super);
    log->channel = attach->channel;
    attach->log = (struct log_state){.epoch = log->epoch, .top = top, .oldest = oldest};
    for (uint64_t offset = tail_from; offset <= top; offset++)
        ring_append(&attach->tail, message_at(offset));
    answer_asked(request, ERROR_NONE);
}

static void attach_named(const char *name, uint64_t top, uint64_t tail_from)
{
    attach_kept(name, top, 1, tail_from);
}

static void feed_named(const char *name, uint64_t offset)
{
    struct message *message = message_at(offset);
    tell(log_named(name)->channel, &(struct feed){.message = message});
    message_unref(message);
    mailbox_drain(&mailbox);
    serve();
}

static void find_in(const struct watcher *watcher, const char *name, bool is_new)
{
    assert_int_equal(broker_tell_name(&mailbox, (struct watcher *)watcher, name, strlen(name), is_new), 0);
    mailbox_drain(&mailbox);
}

static struct watcher *newest_watcher(void)
{
    struct watcher *newest = NULL;
    list_for_each (link, &hub.watchers)
        newest = container_of(link, struct watcher, link);
    assert_non_null(newest);
    return newest;
}

static void find(const char *name, bool is_new)
{
    find_in(newest_watcher(), name, is_new);
}

/* Everything that is there has been told. */
static void end_search(void)
{
    answer_asked(find_asked(BROKER_WATCH, NULL), ERROR_NONE);
}

static enum error_code try_to_follow(struct follower *follower, const struct text *names, unsigned count,
                                     const char *cursor)
{
    struct start start;
    assert_int_equal(start_parse(&start, cursor, strlen(cursor)), 0);
    return subscriber_join(&follower->subscriber, &hub, &follower_ops, TRANSPORT_SSE, names, count, &start);
}

static void follow(struct follower *follower, const char *name, const char *cursor)
{
    const struct text names[] = {text_of(name)};
    assert_int_equal(try_to_follow(follower, names, 1, cursor), ERROR_NONE);
}

/* Follows t/ ** with its channel t/a, which has three messages. */
static void follow_one(struct follower *follower, const char *cursor)
{
    *follower = (struct follower){0};
    follow(follower, "t/**", cursor);
    find("t/a", false);
    end_search();
    if (find_asked(BROKER_ATTACH, "t/a"))
        attach_named("t/a", 3, 1);
    assert_int_equal(follower->begun, 1);
}

static void expect_told(struct follower *follower, const char *told)
{
    assert_string_equal(follower->told, told);
    follower->told[0] = '\0';
}

static const char *cursor_of(const struct follower *follower, unsigned room)
{
    static char text[CURSOR_TEXT_MAX + 1];
    text[subscriber_cursor_within(&follower->subscriber, text, &room)] = '\0';
    return text;
}

/* NAME-OFFSET for each entry, in the order of the cursor. */
static void expect_cursor(const struct follower *follower, unsigned room, const char *entries)
{
    char copy[CURSOR_TEXT_MAX + 1];
    char found[2 * CURSOR_TEXT_MAX] = "";
    strcpy(copy, cursor_of(follower, room));
    for (char *entry = strtok(copy, "."); entry; entry = strtok(NULL, ".")) {
        const char *name = "t/**";
        for (unsigned i = 0; i < log_count; i++)
            if (strncmp(entry, logs[i].epoch.text, EPOCH_LEN) == 0)
                name = logs[i].name;
        strcat(strcat(strcat(found, name), entry + EPOCH_LEN), " ");
    }
    assert_string_equal(found, entries);
}

static int begin_spread(void **state)
{
    log_count = 0;
    return begin(state);
}

static int end_spread(void **state)
{
    (void)state;
    hub_close(&hub);
    while (asked_count > 0) {
        answer_asked(asked[0], ERROR_NONE);
        hub_close(&hub);
    }
    timer_wheel_run(&wheel, 100000);
    assert_true(hub_is_idle(&hub));
    assert_int_equal(message_memory_bytes(), 0);
    mailbox_deinit(&mailbox);
    return 0;
}

/* Searching. */

static void test_what_is_there_begins_now_and_what_comes_later_from_its_beginning(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    expect_told(&follower, "");
    feed_named("t/a", 4);
    expect_told(&follower, "t/a:4 ");
    find("t/new", true);
    attach_named("t/new", 2, 1);
    serve();
    expect_told(&follower, "t/new:1 t/new:2 ");
    find("t/old", false); /* whose log the broker had, and was slow to tell of */
    attach_named("t/old", 2, 1);
    serve();
    expect_told(&follower, "");
    assert_int_equal(subscriber_spread_count(&follower.subscriber), 3);
    subscriber_leave(&follower.subscriber);
}

static void test_what_a_new_channel_does_not_keep_any_more_is_told_as_missing(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    find("t/new", true);
    attach_kept("t/new", 4, 3, 3);
    serve();
    expect_told(&follower, "t/new!trimmed t/new:3 t/new:4 ");
    find("t/none", true);
    attach_kept("t/none", 1, 2, 2);
    serve();
    expect_told(&follower, "t/none!trimmed ");
    subscriber_leave(&follower.subscriber);
}

static void test_nothing_begins_before_the_search_and_all_that_it_found(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "earliest");
    find("t/a", false);
    find("t/b", true); /* its news may be older than the request */
    attach_named("t/a", 1, 1);
    end_search();
    assert_int_equal(follower.begun, 0);
    assert_int_equal(read_some(&follower, 8), 0);
    attach_named("t/b", 1, 1);
    assert_int_equal(follower.begun, 1);
    expect_told(&follower, "t/a:1 t/b:1 ");
    subscriber_leave(&follower.subscriber);
}

static void test_a_cursor_is_of_what_was_there_when_it_was_named(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "earliest");
    expect_told(&follower, "t/a:1 t/a:2 t/a:3 ");
    find("t/old", false);
    attach_named("t/old", 2, 1);
    serve();
    expect_told(&follower, "");
    subscriber_leave(&follower.subscriber);
}

static void test_news_during_the_search_are_no_news(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "now");
    find("t/b", true);
    end_search();
    attach_named("t/b", 2, 1);
    assert_int_equal(follower.begun, 1);
    expect_told(&follower, "");
    subscriber_leave(&follower.subscriber);
}

static void test_a_channel_is_followed_once(void **state)
{
    struct follower follower = {0};
    const struct text names[] = {text_of("t/a"), text_of("t/**")};
    (void)state;
    assert_int_equal(try_to_follow(&follower, names, 2, "now"), ERROR_NONE);
    find("t/a", false);
    find("t/b", false);
    find("t/b", true);
    end_search();
    attach_named("t/a", 1, 1);
    attach_named("t/b", 1, 1);
    assert_int_equal(follower.begun, 1);
    assert_int_equal(subscriber_spread_count(&follower.subscriber), 1);
    feed_named("t/a", 2);
    feed_named("t/b", 2);
    expect_told(&follower, "t/a:2 t/b:2 ");
    expect_cursor(&follower, 64, "t/a-2 t/**-1 t/b-2 ");
    subscriber_leave(&follower.subscriber);
}

static void test_reserved_names_below_are_not_followed(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "now");
    const struct watcher *watcher = newest_watcher();
    watcher->ops->found((struct watcher *)watcher, "t/$presence", 11, true);
    watcher->ops->found((struct watcher *)watcher, "t/x/$y/z", 8, true);
    assert_null(find_asked(BROKER_ATTACH, NULL));
    end_search();
    assert_int_equal(follower.begun, 1);
    subscriber_leave(&follower.subscriber);
    follower = (struct follower){0};
    follow(&follower, "$channel/**", "now"); /* what is below a reserved name is */
    find("$channel/a", false);
    end_search();
    attach_named("$channel/a", 1, 1);
    assert_int_equal(follower.begun, 1);
    subscriber_leave(&follower.subscriber);
}

static void test_a_channel_that_may_not_be_followed_is_left_out(void **state)
{
    struct follower follower = {.other = "t/b", .why = ERROR_FORBIDDEN_CHANNEL};
    (void)state;
    follow(&follower, "t/**", "now");
    find("t/b", false);
    end_search();
    assert_int_equal(follower.begun, 1);
    assert_int_equal(subscriber_completeness(&follower.subscriber), COMPLETENESS_WHOLE);
    expect_told(&follower, "");
    expect_cursor(&follower, 64, "t/**-0 ");
    subscriber_leave(&follower.subscriber);
}

static void test_too_many_channels_are_told_once(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    follower.other = "t/b";
    follower.why = ERROR_TOO_MANY_CHANNELS;
    find("t/b", true);
    expect_told(&follower, ""); /* not within the broker's letter */
    timer_wheel_run(&wheel, 1100);
    expect_told(&follower, "t/**!too-many-channels ");
    find("t/b", true);
    timer_wheel_run(&wheel, 1200);
    expect_told(&follower, "");
    assert_int_equal(subscriber_completeness(&follower.subscriber), COMPLETENESS_PART);
    expect_cursor(&follower, 64, "t/**-65 t/a-3 ");
    subscriber_leave(&follower.subscriber);
}

static void test_a_branch_that_cannot_be_attached_is_left_out(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "now");
    find("t/a", false);
    find("t/b", false);
    end_search();
    answer_asked(find_asked(BROKER_ATTACH, "t/a"), ERROR_MEMORY_LIMIT);
    assert_int_equal(follower.begun, 0);
    attach_named("t/b", 1, 1);
    assert_int_equal(follower.begun, 1);
    expect_told(&follower, "t/**!incomplete ");
    assert_int_equal(subscriber_spread_count(&follower.subscriber), 1);
    assert_int_equal(subscriber_completeness(&follower.subscriber), COMPLETENESS_PART);
    feed_named("t/b", 2);
    expect_told(&follower, "t/b:2 ");
    subscriber_leave(&follower.subscriber);
}

static void test_a_search_that_fails_ends_the_subscriber(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "now");
    find("t/a", false);
    answer_asked(find_asked(BROKER_WATCH, NULL), ERROR_BROKER_DOWN);
    assert_int_equal(follower.failed, ERROR_BROKER_DOWN);
    assert_int_equal(follower.begun, 0);
    assert_null(follower.subscriber.subscriptions);
}

static void test_a_name_that_cannot_be_attached_ends_the_subscriber(void **state)
{
    struct follower follower = {0};
    const struct text names[] = {text_of("t/**"), text_of("x")};
    (void)state;
    assert_int_equal(try_to_follow(&follower, names, 2, "now"), ERROR_NONE);
    end_search();
    answer_asked(find_asked(BROKER_ATTACH, "x"), ERROR_MEMORY_LIMIT);
    assert_int_equal(follower.failed, ERROR_MEMORY_LIMIT);
    assert_null(follower.subscriber.subscriptions);
}

static void test_who_leaves_while_it_is_searched_hears_nothing(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "now");
    struct watcher *watcher = newest_watcher();
    subscriber_leave(&follower.subscriber);
    watcher->ops->found(watcher, "t/a", 3, false);
    assert_null(find_asked(BROKER_ATTACH, NULL));
    end_search(); /* and then the broker is told that nobody wants to know */
    assert_non_null(find_asked(BROKER_UNWATCH, NULL));
    assert_int_equal(follower.woken, 0);
}

static void test_joining_without_memory_leaves_nothing(void **state)
{
    const struct text names[] = {text_of("t/**"), text_of("x"), text_of("u/**")};
    struct follower follower;
    enum error_code error = ERROR_OUT_OF_MEMORY;
    (void)state;
    for (long at = 1; error != ERROR_NONE; at++) {
        follower = (struct follower){0};
        memory_fails_at = at;
        error = try_to_follow(&follower, names, 3, "now");
        memory_fails_at = 0;
        assert_true(error == ERROR_NONE || error == ERROR_OUT_OF_MEMORY);
        if (error != ERROR_NONE)
            assert_null(follower.subscriber.subscriptions);
        assert_true(at < 50);
        while (error != ERROR_NONE && find_asked(BROKER_WATCH, NULL))
            end_search();
        while (error != ERROR_NONE && find_asked(BROKER_UNWATCH, NULL))
            answer_asked(find_asked(BROKER_UNWATCH, NULL), ERROR_NONE);
    }
    subscriber_leave(&follower.subscriber);
}

static void test_without_memory_for_a_branch_all_is_let_go(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    struct watcher *watcher = newest_watcher();
    memory_is_out = true;
    watcher->ops->found(watcher, "t/b", 3, true);
    memory_is_out = false;
    assert_int_equal(follower.failed, ERROR_OUT_OF_MEMORY);
    assert_null(follower.subscriber.subscriptions);
}

/* Resuming. */

static void test_a_complete_cursor_tells_what_has_begun_since(void **state)
{
    struct follower first;
    struct follower second = {.is_lazy = true};
    (void)state;
    follow_one(&first, "now");
    expect_cursor(&first, 64, "t/**-1 t/a-3 ");
    const char *cursor = cursor_of(&first, 64);
    follow(&second, "t/**", cursor);
    subscriber_leave(&first.subscriber);
    find("t/a", false);
    find("t/b", false);
    end_search();
    feed_named("t/a", 4);
    attach_named("t/b", 2, 1);
    assert_int_equal(second.begun, 1);
    assert_true(second.subscriber.is_resumed);
    assert_int_equal(subscriber_recovery(&second.subscriber), RECOVERY_WHOLE);
    while (read_some(&second, 8) > 0)
        ;
    expect_told(&second, "t/a:4 t/b:1 t/b:2 ");
    subscriber_leave(&second.subscriber);
}

static void test_an_incomplete_cursor_says_so_and_begins_now(void **state)
{
    struct follower first;
    struct follower second = {.is_lazy = true};
    (void)state;
    follow_one(&first, "now");
    expect_cursor(&first, 0, "t/**-65 ");
    follow(&second, "t/**", cursor_of(&first, 0));
    subscriber_leave(&first.subscriber);
    find("t/a", false);
    find("t/b", false);
    end_search();
    attach_named("t/b", 2, 1);
    assert_int_equal(second.begun, 1);
    assert_int_equal(subscriber_recovery(&second.subscriber), RECOVERY_GAP);
    assert_int_equal(read_some(&second, 8), 1);
    expect_told(&second, "t/**!incomplete ");
    feed_named("t/b", 3);
    while (read_some(&second, 8) > 0)
        ;
    expect_told(&second, "t/b:3 ");
    subscriber_leave(&second.subscriber);
}

static void test_an_id_of_somebody_else_is_told_and_all_comes_from_its_beginning(void **state)
{
    const struct start start = {.kind = START_UNKNOWN};
    const struct text names[] = {text_of("t/**")};
    struct follower follower = {0};
    (void)state;
    assert_int_equal(
        subscriber_join(&follower.subscriber, &hub, &follower_ops, TRANSPORT_SSE, names, 1, &start),
        ERROR_NONE);
    find("t/a", false);
    end_search();
    attach_named("t/a", 1, 1);
    expect_told(&follower, "t/**!unknown-id t/a:1 ");
    subscriber_leave(&follower.subscriber);
}

/* Reading. */

static void test_only_so_much_is_read_and_a_reset_comes_first(void **state)
{
    struct follower follower = {.is_lazy = true};
    (void)state;
    follow(&follower, "t/**", "earliest");
    find("t/a", false);
    find("t/b", false);
    end_search();
    attach_named("t/a", 3, 1);
    attach_named("t/b", 3, 1);
    assert_int_equal(read_some(&follower, 2), 2);
    expect_told(&follower, "t/a:1 t/a:2 ");
    /* The branch that is reset comes before the one that was in the middle of its messages. */
    tell(log_named("t/b")->channel,
         &(struct feed){.reason = RESET_PURGED, .log = {.epoch = epoch, .oldest = 1}});
    mailbox_drain(&mailbox);
    serve();
    assert_int_equal(read_some(&follower, 2), 2);
    expect_told(&follower, "t/b!purged t/a:3 ");
    subscriber_leave(&follower.subscriber);
}

static void test_a_client_that_takes_nothing_is_not_woken(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    unsigned woken = follower.woken;
    subscriber_block(&follower.subscriber);
    feed_named("t/a", 4);
    feed_named("t/a", 5);
    assert_int_equal(follower.woken, woken);
    subscriber_unblock(&follower.subscriber);
    serve();
    expect_told(&follower, "t/a:4 t/a:5 ");
    subscriber_leave(&follower.subscriber);
}

static void test_a_blocked_client_is_told_of_a_stem_later(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    follower.other = "t/b";
    follower.why = ERROR_TOO_MANY_CHANNELS;
    subscriber_block(&follower.subscriber);
    find("t/b", true);
    timer_wheel_run(&wheel, 1100);
    expect_told(&follower, "");
    hub.now_ms = 1100;
    subscriber_unblock(&follower.subscriber);
    timer_wheel_run(&wheel, 1200);
    expect_told(&follower, "t/**!too-many-channels ");
    subscriber_leave(&follower.subscriber);
}

static void test_older_history_is_waited_for(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "earliest");
    find("t/a", false);
    end_search();
    attach_named("t/a", 3, 3);
    assert_int_equal(follower.begun, 1);
    assert_true(subscriber_is_fetching(&follower.subscriber));
    expect_told(&follower, "");
    struct broker_request *request = find_asked(BROKER_HISTORY, "t/a");
    struct history_request *history = container_of(request, struct history_request, super);
    history->log = (struct log_state){.epoch = log_named("t/a")->epoch, .top = 3, .oldest = 1};
    for (uint64_t offset = history->from; offset <= history->to; offset++)
        ring_append(&history->messages, message_at(offset));
    answer_asked(request, ERROR_NONE);
    serve();
    expect_told(&follower, "t/a:1 t/a:2 t/a:3 ");
    assert_false(subscriber_is_fetching(&follower.subscriber));
    subscriber_leave(&follower.subscriber);
}

static void test_one_answer_says_what_a_stem_has_only_with_a_message(void **state)
{
    struct follower first;
    struct follower second = {.is_lazy = true, .subscriber.is_brief = true};
    (void)state;
    follow_one(&first, "now");
    follow(&second, "t/**", cursor_of(&first, 0));
    subscriber_leave(&first.subscriber);
    find("t/a", false);
    end_search();
    assert_int_equal(second.begun, 1);
    assert_int_equal(read_some(&second, 8), 0);
    feed_named("t/a", 4);
    assert_int_equal(read_some(&second, 8), 2);
    expect_told(&second, "t/**!incomplete t/a:4 ");
    subscriber_leave(&second.subscriber);
}

static void test_who_yields_is_woken_even_with_nothing_to_tell(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    unsigned woken = follower.woken;
    subscriber_yield(&follower.subscriber);
    timer_wheel_run(&wheel, 1100);
    assert_int_equal(follower.woken, woken + 1);
    feed_named("t/a", 4);
    follower.is_lazy = true;
    feed_named("t/a", 5);
    subscriber_yield(&follower.subscriber);
    follower.is_lazy = false;
    serve();
    expect_told(&follower, "t/a:4 t/a:5 ");
    subscriber_leave(&follower.subscriber);
}

/* Cursors. */

static void test_a_cursor_has_those_that_were_told_last(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i == 0 ? "t/b" : "t/c";
        find(name, true);
        attach_named(name, 1, 1);
        serve();
    }
    feed_named("t/b", 2);
    expect_cursor(&follower, 64, "t/**-3 t/b-2 t/c-1 t/a-3 ");
    expect_cursor(&follower, 3, "t/**-3 t/b-2 t/c-1 t/a-3 ");
    expect_cursor(&follower, 2, "t/**-65 t/b-2 t/c-1 ");
    assert_int_equal(subscriber_completeness(&follower.subscriber), COMPLETENESS_WHOLE);
    unsigned room = 5;
    char text[CURSOR_TEXT_MAX];
    (void)subscriber_cursor_within(&follower.subscriber, text, &room);
    assert_int_equal(room, 2);
    subscriber_leave(&follower.subscriber);
}

static void test_more_channels_than_entries_are_no_whole(void **state)
{
    struct follower follower;
    char name[16];
    (void)state;
    follow_one(&follower, "now");
    for (unsigned i = 1; i < CURSOR_CHANNELS_MAX + 1; i++) {
        assert_int_equal(subscriber_completeness(&follower.subscriber), COMPLETENESS_WHOLE);
        snprintf(name, sizeof(name), "t/%u", i);
        find(name, true);
        attach_named(name, 1, 1);
    }
    assert_int_equal(subscriber_completeness(&follower.subscriber), COMPLETENESS_PART);
    subscriber_leave(&follower.subscriber);
}

/* Rights. */

static void test_another_token_drops_what_it_does_not_allow_and_finds_what_it_does(void **state)
{
    struct follower follower;
    (void)state;
    follow_one(&follower, "now");
    find("t/b", true);
    attach_named("t/b", 1, 1);
    serve();
    expect_told(&follower, "t/b:1 ");
    follower.other = "t/a";
    follower.why = ERROR_FORBIDDEN_CHANNEL;
    subscriber_search_again(&follower.subscriber);
    assert_int_equal(follower.searched, 0);
    assert_int_equal(subscriber_spread_count(&follower.subscriber), 1);
    assert_non_null(find_asked(BROKER_UNWATCH, NULL)); /* of the search before */
    find("t/a", false);
    find("t/b", false);
    find("t/c", false);
    end_search();
    assert_int_equal(follower.searched, 0);
    attach_named("t/c", 2, 1);
    assert_int_equal(follower.searched, 1);
    assert_int_equal(follower.begun, 1);
    feed_named("t/c", 3);
    expect_told(&follower, "t/c:3 ");
    subscriber_leave(&follower.subscriber);
}

static void test_a_search_again_in_the_middle_of_the_first_begins_once(void **state)
{
    struct follower follower = {0};
    (void)state;
    follow(&follower, "t/**", "now");
    find("t/a", false);
    follower.other = "t/a";
    follower.why = ERROR_FORBIDDEN_CHANNEL;
    subscriber_search_again(&follower.subscriber); /* nor is that awaited any more which it found */
    end_search();                                  /* the first, of which nobody wants to know any more */
    assert_int_equal(follower.begun, 0);
    end_search();
    assert_int_equal(follower.begun, 1);
    assert_int_equal(follower.searched, 0);
    subscriber_leave(&follower.subscriber);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_spread, end_spread)

static const struct CMUnitTest tests[] = {
    TEST(test_what_is_there_begins_now_and_what_comes_later_from_its_beginning),
    TEST(test_what_a_new_channel_does_not_keep_any_more_is_told_as_missing),
    TEST(test_nothing_begins_before_the_search_and_all_that_it_found),
    TEST(test_a_cursor_is_of_what_was_there_when_it_was_named),
    TEST(test_news_during_the_search_are_no_news),
    TEST(test_a_channel_is_followed_once),
    TEST(test_reserved_names_below_are_not_followed),
    TEST(test_a_channel_that_may_not_be_followed_is_left_out),
    TEST(test_too_many_channels_are_told_once),
    TEST(test_a_branch_that_cannot_be_attached_is_left_out),
    TEST(test_a_search_that_fails_ends_the_subscriber),
    TEST(test_a_name_that_cannot_be_attached_ends_the_subscriber),
    TEST(test_who_leaves_while_it_is_searched_hears_nothing),
    TEST(test_joining_without_memory_leaves_nothing),
    TEST(test_without_memory_for_a_branch_all_is_let_go),
    TEST(test_a_complete_cursor_tells_what_has_begun_since),
    TEST(test_an_incomplete_cursor_says_so_and_begins_now),
    TEST(test_an_id_of_somebody_else_is_told_and_all_comes_from_its_beginning),
    TEST(test_only_so_much_is_read_and_a_reset_comes_first),
    TEST(test_a_client_that_takes_nothing_is_not_woken),
    TEST(test_a_blocked_client_is_told_of_a_stem_later),
    TEST(test_older_history_is_waited_for),
    TEST(test_one_answer_says_what_a_stem_has_only_with_a_message),
    TEST(test_who_yields_is_woken_even_with_nothing_to_tell),
    TEST(test_a_cursor_has_those_that_were_told_last),
    TEST(test_more_channels_than_entries_are_no_whole),
    TEST(test_another_token_drops_what_it_does_not_allow_and_finds_what_it_does),
    TEST(test_a_search_again_in_the_middle_of_the_first_begins_once),
};
UNIT_MAIN(tests)
