/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "command/gather.h"
#include "render/render.h"
#include "transport/tcp/reply.h"
#include "transport/tcp/resp_call.h"

/* Bytes of an answer, beyond which no entry is added: it is gathered whole, for a client that may not read
 * it.
 */
#define RANGE_BYTES_MAX (4u << 20)

struct range {
    struct gather gather;
    struct connection *connection;
    struct buf entries;
    uint64_t count;
    uint64_t most;
    uint64_t last;   /* offset that ends it */
    bool is_read;    /* XREAD, not XRANGE */
    bool has_failed; /* `entries` is an error then */
    struct timer timer;
};

static const char range_syntax[] = "ERR syntax error";
static const char range_bad_number[] = "ERR value is not an integer or out of range";
static const char range_bad_id[] = "ERR Invalid stream ID specified as stream command argument";

static void range_free(struct garbage *garbage)
{
    struct range *range = container_of(garbage, struct range, gather.garbage);
    buf_deinit(&range->entries);
    free(range);
}

void range_forget(struct range *range)
{
    if (!range)
        return;
    timer_stop(&range->gather.shard->wheel, &range->timer);
    gather_drop(&range->gather, range_free);
}

/* Answer. */

static void range_append_field(struct buf *to, const char *name, const char *value, size_t len)
{
    render_resp_bulk(to, name, strlen(name));
    render_resp_bulk(to, value, len);
}

static void range_append_entry(struct range *range, const struct subscription *subscription,
                               const struct message *message)
{
    const char *type = message_type_word((enum message_type)message->type);
    struct buf *to = &range->entries;
    char id[POSITION_TEXT_MAX];
    char time[20];
    const struct text key = message_key(message);
    const struct text channel = message_channel(message);
    uint64_t fields =
        3u + (message->event_len > 0) + (message->producer_len > 0) + (key.len > 0) + (channel.len > 0);
    reply_append_header(to, '*', 2);
    render_resp_bulk(to, id, position_format(id, subscription_epoch(subscription), message->offset));
    reply_append_header(to, '*', 2 * fields);
    range_append_field(to, "data", message_data(message), message->size);
    range_append_field(to, "type", type, strlen(type));
    range_append_field(to, "time", time, number_format_u64(time, (uint64_t)message->time_ms));
    if (message->event_len > 0)
        range_append_field(to, "event", message_event(message), message->event_len);
    if (message->producer_len > 0)
        range_append_field(to, "producer", message_producer(message), message->producer_len);
    if (key.len > 0)
        range_append_field(to, "key", key.bytes, key.len);
    if (channel.len > 0)
        range_append_field(to, "channel", channel.bytes, channel.len);
    range->count++;
    range->gather.is_patient = false;
}

/* What a reader has missed is never passed over in silence. That old messages are gone is no news to XRANGE,
 * and shows in the offsets. */
static void range_append_reset(struct range *range, const struct delivery *delivery, uint64_t offset)
{
    struct buf *to = &range->entries;
    char id[POSITION_TEXT_MAX];
    if (delivery->reset == RESET_TRIMMED)
        return;
    to->len = 0;
    range->has_failed = true;
    buf_append_char(to, '-');
    delivery_append_reset(to, delivery);
    buf_append_text(to, " go on behind ");
    buf_append(to, id, position_format(id, subscription_epoch(delivery->subscription), offset));
    buf_append_text(to, "\r\n");
}

static void range_answer(const struct range *range)
{
    const struct connection *connection = range->connection;
    struct buf *to = &connection->wait->text;
    struct text channel = subscription_channel(&range->gather.subscriber.one);
    if (range->is_read && range->count == 0 && !range->has_failed) {
        buf_append_text(to, connection->protocol == 3 ? "_\r\n" : "*-1\r\n");
        return;
    }
    if (range->is_read && !range->has_failed) {
        buf_append_text(to, connection->protocol == 3 ? "%1\r\n" : "*1\r\n*2\r\n");
        render_resp_bulk(to, channel.bytes, channel.len);
    }
    if (!range->has_failed)
        reply_append_header(to, '*', range->count);
    buf_append(to, range->entries.bytes, range->entries.len);
    to->has_failed = to->has_failed || range->entries.has_failed;
}

/* XREAD goes on from its last entry; XRANGE would seem to have told everything. */
static void range_overflow(struct range *range)
{
    if (range->is_read)
        return;
    range->has_failed = true;
    range->entries.len = 0;
    connection_append_error(range->connection, &range->entries, ERROR_TOO_LARGE,
                            "the range has over 4 MiB; ask for less with COUNT");
}

/* Gathering. */

static bool range_add(struct gather *gather, struct delivery *delivery)
{
    struct range *range = container_of(gather, struct range, gather);
    uint64_t offset = delivery->offset;
    if (range->has_failed || offset > range->last || range->count >= range->most)
        return false;
    if (range->entries.len >= RANGE_BYTES_MAX) {
        range_overflow(range);
        return false;
    }
    subscriber_advance(delivery);
    if (delivery->message)
        range_append_entry(range, delivery->subscription, delivery->message);
    else
        range_append_reset(range, delivery, offset);
    return !range->has_failed && range->count < range->most && offset < range->last;
}

static void range_end(struct gather *gather, enum error_code error)
{
    struct range *range = container_of(gather, struct range, gather);
    struct connection *connection = range->connection;
    if (error == ERROR_NONE)
        range_answer(range);
    else
        connection_append_error(connection, &connection->wait->text, error, error_text(error));
    connection->wait->range = NULL;
    range_forget(range);
    connection_wait_end(connection);
}

static const struct gather_ops range_ops = {.add = range_add, .end = range_end};

static void range_time_over(struct timer *timer)
{
    struct range *range = container_of(timer, struct range, timer);
    range->gather.is_patient = false;
    gather_wake(&range->gather);
}

/* Commands. */

/* Where an entry stands: after it (`at` its offset), with `-`, 0 and 0-0 for the begin, `$` for the end. */
static int range_parse_start(struct start *start, struct text id)
{
    *start = (struct start){.kind = START_EARLIEST};
    if (text_is(id, "-") || text_is(id, "0") || text_is(id, "0-0"))
        return 0;
    start->kind = START_NOW;
    if (text_is(id, "$") || text_is(id, "+"))
        return 0;
    if (start_parse(start, id.bytes, id.len) || start->kind != START_CURSOR || start->count != 1)
        return -EINVAL;
    return 0;
}

/* What a command asks for, besides what stands in its range. */
struct range_wish {
    struct text channel;
    struct start start;
    uint64_t block_ms;
};

/* What a number says. Returns the fault, or NULL. */
static const char *range_parse_number(uint64_t *number, struct text text)
{
    return number_parse_u64(number, text.bytes, text.len) ? range_bad_number : NULL;
}

/* XRANGE channel start end [COUNT n] */
static const char *range_parse_xrange(struct range *range, const struct resp_call *call,
                                      struct range_wish *wish)
{
    const struct text *arguments = call->arguments;
    struct start *start = &wish->start;
    struct text first = arguments[2];
    struct start end;
    bool is_after = first.len > 1 && first.bytes[0] == '(';
    if (is_after)
        first = text_behind(first, 1);
    wish->channel = arguments[1];
    if (range_parse_start(start, first) || range_parse_start(&end, arguments[3]))
        return range_bad_id;
    if (start->kind == START_CURSOR && !is_after && start->at[0].offset > 0)
        start->at[0].offset--;
    if (end.kind == START_CURSOR)
        range->last = end.at[0].offset;
    if (end.kind == START_EARLIEST)
        range->last = 0;
    if (call->count == 4)
        return NULL;
    if (call->count != 6 || !resp_argument_is(call, 4, "COUNT"))
        return range_syntax;
    return range_parse_number(&range->most, arguments[5]);
}

/* XREAD [COUNT n] [BLOCK ms] STREAMS channel id */
static const char *range_parse_xread(struct range *range, const struct resp_call *call,
                                     struct range_wish *wish)
{
    /* A paused socket does not show that its peer has gone, so nobody is waited for forever. */
    const uint64_t most_ms = connection_shard(call->connection)->options->poll_wait_max_ms;
    const char *fault = NULL;
    unsigned at;
    range->is_read = true;
    for (at = 1; !fault && at < call->count && !resp_argument_is(call, at, "STREAMS"); at += 2) {
        bool is_block = resp_argument_is(call, at, "BLOCK");
        if (at + 1 == call->count || (!is_block && !resp_argument_is(call, at, "COUNT")))
            return range_syntax;
        range->gather.is_patient = range->gather.is_patient || is_block;
        fault = range_parse_number(is_block ? &wish->block_ms : &range->most, call->arguments[at + 1]);
    }
    if (fault)
        return fault;
    if (at >= call->count)
        return range_syntax;
    if (call->count - at != 3)
        return "ERR XREAD reads one channel at a time here: STREAMS channel id";
    if (wish->block_ms == 0 || wish->block_ms > most_ms)
        wish->block_ms = most_ms;
    wish->channel = call->arguments[at + 1];
    return range_parse_start(&wish->start, call->arguments[at + 2]) ? range_bad_id : NULL;
}

/* Returns whether the wait has the range now. */
static bool range_begin(struct connection *connection, struct range *range, const struct range_wish *wish)
{
    struct shard *shard = connection_shard(connection);
    if (!connection_check_channel(connection, connection_text(connection), wish->channel) ||
        !connection_admits(connection, connection_text(connection), wish->channel) ||
        !connection_wait_begin(connection))
        return false;
    connection->wait->super.awaited++;
    connection->wait->range = range;
    enum error_code error =
        gather_begin(&range->gather, shard, &range_ops, TRANSPORT_TCP, wish->channel, &wish->start);
    if (error != ERROR_NONE) {
        connection_append_error(connection, &connection->wait->text, error, error_text(error));
        connection->wait->range = NULL;
        connection->wait->super.awaited--;
    } else if (connection->wait->range && range->gather.is_patient) {
        timer_arm(&shard->wheel, &range->timer, shard->now_ms + wish->block_ms);
    }
    connection_wait_end(connection);
    return error == ERROR_NONE;
}

static void range_run(const struct resp_call *call,
                      const char *(*parse)(struct range *range, const struct resp_call *call,
                                           struct range_wish *wish))
{
    struct range_wish wish = {.block_ms = 0};
    struct range *range = calloc(1, sizeof(*range));
    if (!range) {
        connection_answer_error(call->connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    range->connection = call->connection;
    range->most = UINT64_MAX;
    range->last = UINT64_MAX;
    timer_init(&range->timer, range_time_over);
    const char *fault = parse(range, call, &wish);
    if (fault)
        reply_error(call->connection, fault);
    if (fault || !range_begin(call->connection, range, &wish))
        range_free(&range->gather.garbage);
}

void resp_run_xrange(const struct resp_call *call)
{
    range_run(call, range_parse_xrange);
}

void resp_run_xread(const struct resp_call *call)
{
    range_run(call, range_parse_xread);
}
