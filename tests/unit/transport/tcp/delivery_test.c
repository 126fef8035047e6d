/* SPDX-License-Identifier: MIT */
/* Delivery to a socket that takes only so many bytes: for each number of them the rest is owed, to the byte.
 * The subscriber and the kernel are played here. */
#include "unit.h"

#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "render/render.h"
#include "transport/tcp/connection.h"

#define MOST 10u

static struct message *messages[MOST];
static size_t message_count;
static size_t told;
static size_t room;
static struct buf wire;
static struct shard shard;
static struct channel_memo memo;
static const struct epoch epoch = {"k3q9xm2ab7zt"};

size_t subscriber_read(struct subscriber *subscriber, struct delivery *deliveries, size_t most)
{
    size_t count = 0;
    for (size_t i = told; i < message_count && count < most; i++)
        deliveries[count++] = (struct delivery){
            .subscription = &subscriber->one, .message = messages[i], .offset = messages[i]->offset};
    return count;
}

void subscriber_advance(struct delivery *delivery)
{
    (void)delivery;
    told++;
}

void subscriber_retreat(struct delivery *delivery)
{
    (void)delivery;
    told--;
}

struct text subscription_channel(const struct subscription *subscription)
{
    (void)subscription;
    return text_of("a/b");
}

const struct epoch *subscription_epoch(const struct subscription *subscription)
{
    (void)subscription;
    return &epoch;
}

size_t subscriber_cursor(const struct subscriber *subscriber, char *to)
{
    (void)subscriber;
    (void)to;
    return 0;
}

struct channel_memo *subscription_memo(const struct subscription *subscription)
{
    (void)subscription;
    return &memo;
}

void channel_memo_clear(struct channel_memo *which)
{
    if (which->release)
        which->release(which->value);
    *which = (struct channel_memo){0};
}

void subscriber_block(struct subscriber *subscriber)
{
    (void)subscriber;
}

void subscriber_yield(struct subscriber *subscriber)
{
    (void)subscriber;
    fail_msg("there is more than was read");
}

static ssize_t take(const char *bytes, size_t len)
{
    size_t taken = len < room ? len : room;
    buf_append(&wire, bytes, taken);
    room -= taken;
    return (ssize_t)taken;
}

static ssize_t take_parts(const struct msghdr *message)
{
    ssize_t taken = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        taken += take(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    return taken;
}

/* Of sendto and sendmsg. */
long syscall(long number, ...)
{
    va_list arguments;
    ssize_t taken;
    va_start(arguments, number);
    (void)va_arg(arguments, int);
    if (number == SYS_sendmsg) {
        taken = take_parts(va_arg(arguments, const struct msghdr *));
    } else {
        const char *bytes = va_arg(arguments, const char *);
        taken = take(bytes, va_arg(arguments, size_t));
    }
    va_end(arguments);
    return taken;
}

void shard_count(struct shard *of, enum metric metric, uint64_t by)
{
    (void)of;
    (void)metric;
    (void)by;
}

static void make_messages(size_t count)
{
    message_count = count;
    for (size_t i = 0; i < count; i++) {
        messages[i] =
            message_new(&(struct message_parts){.type = MESSAGE_TEXT, .data = "abcdefghij", .size = i});
        messages[i]->offset = i + 1;
    }
}

static void forget_messages(void)
{
    channel_memo_clear(&memo);
    for (size_t i = 0; i < message_count; i++)
        message_unref(messages[i]);
}

static void fail_broken(struct outlet *outlet)
{
    (void)outlet;
    fail_msg("broken");
}

/* Delivers with so much room; what was sent and what is owed is left in `wire`. */
static enum outlet_progress deliver(const struct connection *as, bool is_pattern, size_t bytes)
{
    static const struct outlet_ops ops = {.broken = fail_broken};
    struct connection connection = *as;
    struct outlet *outlet = &connection.socket.outlet;
    struct command_subscription subscription = {.conversation = &connection.conversation,
                                                .until = UINT64_MAX};
    subscription.subscriber.pending = is_pattern ? SUBSCRIBER_SPREADS : 0;
    timer_wheel_init(&shard.wheel, 0);
    outlet_table_init(&shard.outlets, &shard);
    outlet_init(outlet, &ops, &shard, -1);
    buf_deinit(&wire);
    told = 0;
    room = bytes;
    enum outlet_progress progress = tcp_deliver(&subscription);
    if (outlet->tail_len > 0)
        buf_append(&wire, outlet->tail, outlet->tail_len);
    buf_append(&wire, outlet->text.bytes, outlet->text.len);
    outlet_close(outlet);
    outlet_deinit(outlet);
    return progress;
}

static void check_every_cut(const struct connection *as, bool is_pattern, size_t count)
{
    struct buf whole = {0};
    size_t ends[MOST + 1] = {0};
    make_messages(count);
    for (size_t i = 1; i <= count; i++) {
        message_count = i;
        assert_int_equal(deliver(as, is_pattern, SIZE_MAX), OUTLET_DONE);
        ends[i] = wire.len;
    }
    buf_append(&whole, wire.bytes, wire.len);
    for (size_t cut = 0; cut < whole.len; cut++) {
        assert_int_equal(deliver(as, is_pattern, cut), OUTLET_WAITING);
        /* Nothing is owed of a frame of which nothing was taken. */
        assert_int_equal(wire.len, ends[told]);
        assert_true(cut <= ends[told] && (told == 0 || cut > ends[told - 1]));
        assert_memory_equal(wire.bytes, whole.bytes, wire.len);
    }
    buf_deinit(&whole);
    buf_deinit(&wire);
    forget_messages();
}

static void test_whatever_a_socket_takes_the_rest_is_owed(void **state)
{
    static const struct connection kinds[] = {
        {.framing = FRAMING_CRLF},
        {.framing = FRAMING_NUL},
        {.framing = FRAMING_LEN32},
        {.framing = FRAMING_RESP, .protocol = 2},
        {.framing = FRAMING_RESP, .protocol = 3},
        {.framing = FRAMING_CRLF, .format = UPDATE_JSON},
        {.framing = FRAMING_NUL, .format = UPDATE_JSON},
        {.framing = FRAMING_LEN32, .format = UPDATE_JSON},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        check_every_cut(&kinds[i], false, 3);
        /* As one run of bytes, where the framing has one. */
        check_every_cut(&kinds[i], false, MOST);
    }
}

static void test_the_same_for_what_a_pattern_found(void **state)
{
    (void)state;
    check_every_cut(&(struct connection){.framing = FRAMING_RESP, .protocol = 2}, true, 3);
    check_every_cut(&(struct connection){.framing = FRAMING_RESP, .protocol = 3}, true, MOST);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_whatever_a_socket_takes_the_rest_is_owed),
    cmocka_unit_test(test_the_same_for_what_a_pattern_found),
};

UNIT_MAIN(tests)
