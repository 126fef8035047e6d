/* SPDX-License-Identifier: MIT */
#include "shard/outlet.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "shard/shard.h"
#include "shard/socket.h"

/* Messages in one write: enough that a burst is one system call, few enough for the stack. */
#define OUTLET_BATCH 256u
/* Bytes written before others have their turn. */
#define OUTLET_TURN_BYTES (1u << 20)
/* From so many messages on they are written as one run of bytes, which the kernel takes faster than parts. */
#define OUTLET_RUN_LEAST 8u
#define OUTLET_RUN_BYTES_MAX (256u << 10)
/* Of a text that the peer does not take, this much is not counted. */
#define OUTLET_LITTLE_BYTES 4096u
/* How often the blocked are looked at. */
#define OUTLET_LOOK_LEAST_MS 20u
#define OUTLET_LOOK_MOST_MS 1000u

/* The frames of several messages one after another: made once for all subscribers of a channel that are to
 * get the same ones. */
struct outlet_run {
    unsigned format; /* outlet_format.run */
    uint64_t first;  /* offsets */
    uint64_t last;
    size_t size;
    char bytes[];
};

struct outlet_batch {
    const struct outlet_format *format;
    struct subscriber *subscriber;
    const struct outlet_run *run; /* that has the bytes of all frames; NULL when there is none */
    size_t count;
    size_t size;
    struct buf text;
    bool has_failed;
    struct delivery deliveries[OUTLET_BATCH];
    struct outlet_frame frames[OUTLET_BATCH];
    struct iovec parts[3 * OUTLET_BATCH];
};

static void outlet_move(struct outlet *outlet, enum outlet_state to)
{
    static const unsigned legal[] = {
        [OUTLET_READY] = 1u << OUTLET_BLOCKED | 1u << OUTLET_RELIEVED | 1u << OUTLET_CLOSED,
        [OUTLET_BLOCKED] = 1u << OUTLET_RELIEVED | 1u << OUTLET_CLOSED,
        [OUTLET_RELIEVED] = 1u << OUTLET_READY | 1u << OUTLET_BLOCKED | 1u << OUTLET_CLOSED,
        [OUTLET_CLOSED] = 0,
    };
    struct shard *shard = outlet->shard;
    assert(legal[outlet->state] & 1u << to);
    outlet->state = to;
    list_remove(&outlet->wait_link);
    switch (to) {
    case OUTLET_READY:
        break;
    case OUTLET_BLOCKED:
        outlet->progress_ms = shard->now_ms;
        list_append(&shard->outlets.blocked, &outlet->wait_link);
        if (!timer_is_armed(&shard->outlets.timer))
            timer_arm(&shard->wheel, &shard->outlets.timer, shard->now_ms + OUTLET_LOOK_LEAST_MS);
        break;
    case OUTLET_RELIEVED:
        list_append(&shard->outlets.relieved, &outlet->wait_link);
        break;
    case OUTLET_CLOSED:
        list_remove(&outlet->flush_link);
        break;
    }
}

static void outlet_set_blocked(struct outlet *outlet, bool is_blocked)
{
    if (is_blocked == (outlet->state == OUTLET_BLOCKED))
        return;
    outlet_move(outlet, is_blocked ? OUTLET_BLOCKED : OUTLET_RELIEVED);
    if (outlet->ops->changed)
        outlet->ops->changed(outlet);
}

void outlet_init(struct outlet *outlet, const struct outlet_ops *ops, struct shard *shard, int fd)
{
    *outlet = (struct outlet){.shard = shard, .ops = ops, .progress_ms = shard->now_ms, .fd = fd};
    list_init(&outlet->flush_link);
    list_init(&outlet->wait_link);
}

void outlet_close(struct outlet *outlet)
{
    if (outlet->state != OUTLET_CLOSED)
        outlet_move(outlet, OUTLET_CLOSED);
}

void outlet_deinit(struct outlet *outlet)
{
    message_unref(outlet->owed);
    buf_deinit(&outlet->text);
    if (outlet->share.bytes > 0)
        (void)memory_share_set(&outlet->share, outlet->shard, 0); /* less always fits */
}

bool outlet_is_silent(const struct outlet *outlet, uint64_t for_ms)
{
    return outlet->state == OUTLET_READY && outlet->shard->now_ms - outlet->progress_ms >= for_ms;
}

/* Writing. */

/* Returns how many bytes were taken, 0 and more, or -EPIPE when the outlet is closed. */
static ssize_t outlet_write(struct outlet *outlet, const struct iovec *parts, int count)
{
    ssize_t sent = socket_write_parts(outlet->fd, parts, count);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
        outlet->ops->broken(outlet);
        return -EPIPE;
    }
    if (sent > 0) {
        outlet->progress_ms = outlet->shard->now_ms;
        shard_count(outlet->shard, METRIC_DELIVERED_BYTES, (uint64_t)sent);
    }
    return sent < 0 ? 0 : sent;
}

struct buf *outlet_text(struct outlet *outlet)
{
    bool is_written = outlet->state == OUTLET_READY || outlet->state == OUTLET_RELIEVED;
    if (is_written && list_is_empty(&outlet->flush_link))
        list_append(&outlet->shard->outlets.to_flush, &outlet->flush_link);
    return &outlet->text;
}

static void outlet_pay(struct outlet *outlet, size_t sent)
{
    size_t of_tail = sent < outlet->tail_len ? sent : outlet->tail_len;
    outlet->tail_len -= of_tail;
    outlet->tail = outlet->tail_len > 0 ? outlet->tail + of_tail : NULL;
    outlet->text_at += sent - of_tail;
    if (outlet->tail_len == 0 && outlet->owed) {
        message_unref(outlet->owed);
        outlet->owed = NULL;
    }
    if (outlet->text_at == outlet->text.len) {
        buf_deinit(&outlet->text);
        outlet->text_at = 0;
    }
}

/* Returns whether what the peer does not take may be kept for it: a little always. */
static bool outlet_count_text(struct outlet *outlet)
{
    size_t bytes = outlet->state == OUTLET_BLOCKED ? outlet->text.capacity : 0;
    if (bytes <= OUTLET_LITTLE_BYTES && outlet->share.bytes == 0)
        return true;
    return memory_share_set(&outlet->share, outlet->shard, bytes);
}

bool outlet_flush(struct outlet *outlet)
{
    list_remove(&outlet->flush_link);
    if (outlet->state == OUTLET_CLOSED)
        return false;
    if (outlet->text.has_failed) {
        outlet->ops->broken(outlet);
        return false;
    }
    if (outlet_owed(outlet) > 0) {
        struct iovec parts[2];
        int count = 0;
        if (outlet->tail_len > 0)
            parts[count++] = (struct iovec){(void *)(uintptr_t)outlet->tail, outlet->tail_len};
        if (outlet->text.len > outlet->text_at)
            parts[count++] =
                (struct iovec){outlet->text.bytes + outlet->text_at, outlet->text.len - outlet->text_at};
        ssize_t sent = outlet_write(outlet, parts, count);
        if (sent < 0)
            return false;
        outlet_pay(outlet, (size_t)sent);
    }
    bool is_owing = outlet_owed(outlet) > 0 || !socket_flush(outlet->fd);
    outlet_set_blocked(outlet, is_owing);
    if (!outlet_count_text(outlet)) {
        outlet->ops->broken(outlet);
        return false;
    }
    return outlet->state == OUTLET_READY || outlet->state == OUTLET_RELIEVED;
}

void outlet_call(struct outlet *outlet)
{
    if (outlet->state == OUTLET_READY)
        outlet_move(outlet, OUTLET_RELIEVED);
}

/* Delivering. */

static void batch_fill(struct outlet_batch *batch, size_t index)
{
    struct outlet_frame *frame = &batch->frames[index];
    *frame = (struct outlet_frame){.text_at = batch->text.len};
    if (batch->format->fill(batch->subscriber, &batch->deliveries[index], &batch->text, frame))
        batch->has_failed = true;
    frame->text_len = batch->text.len - frame->text_at;
}

static void run_release(void *run)
{
    free(run);
}

/* Whether the batch may be a run, which its offsets tell from others; anything but a message has a text of
 * its own. */
static bool batch_can_run(const struct outlet_batch *batch)
{
    bool can_run = batch->format->run != 0 && batch->count >= OUTLET_RUN_LEAST &&
                   !subscriber_is_joined(batch->subscriber);
    for (size_t i = 0; can_run && i < batch->count; i++)
        can_run = batch->deliveries[i].message != NULL;
    if (!can_run || deliveries_have_transient(batch->deliveries, batch->count))
        return false;
    /* Somebody who is told the newest only passes over some. */
    return batch->deliveries[batch->count - 1].offset - batch->deliveries[0].offset == batch->count - 1;
}

/* The run that somebody else was told, if it is the same. */
static const struct outlet_run *batch_find_run(const struct outlet_batch *batch)
{
    const struct channel_memo *memo = subscription_memo(batch->deliveries[0].subscription);
    const struct outlet_run *run = memo->release == run_release ? memo->value : NULL;
    bool is_it = run && run->format == batch->format->run &&
                 run->first == batch->deliveries[0].message->offset &&
                 run->last == batch->deliveries[batch->count - 1].message->offset;
    return is_it ? run : NULL;
}

/* Makes a run of the frames, for the others as well. Without memory for it they are written one by one. */
static void batch_make_run(struct outlet_batch *batch)
{
    struct channel_memo *memo = subscription_memo(batch->deliveries[0].subscription);
    struct outlet_run *run = batch->size <= OUTLET_RUN_BYTES_MAX ? malloc(sizeof(*run) + batch->size) : NULL;
    if (!run)
        return;
    *run = (struct outlet_run){.format = batch->format->run,
                               .first = batch->deliveries[0].message->offset,
                               .last = batch->deliveries[batch->count - 1].message->offset,
                               .size = batch->size};
    char *to = run->bytes;
    for (size_t i = 0; i < batch->count; i++) {
        memcpy(to, batch->frames[i].body, batch->frames[i].body_len);
        to += batch->frames[i].body_len;
    }
    channel_memo_clear(memo);
    *memo = (struct channel_memo){.offset = run->last, .value = run, .release = run_release};
    batch->run = run;
}

/* Tells the subscriber everything, as if all were taken, and makes the frames of it unless a run has them. */
static void batch_tell(struct outlet_batch *batch)
{
    bool can_run = batch_can_run(batch);
    batch->run = can_run ? batch_find_run(batch) : NULL;
    batch->size = batch->run ? batch->run->size : 0;
    for (size_t i = 0; i < batch->count; i++) {
        subscriber_advance(&batch->deliveries[i]);
        if (batch->run)
            continue;
        batch_fill(batch, i);
        batch->size += batch->frames[i].text_len + batch->frames[i].body_len + batch->frames[i].end_len;
    }
    batch->has_failed = batch->has_failed || batch->text.has_failed;
    if (can_run && !batch->run && !batch->has_failed)
        batch_make_run(batch);
}

static void batch_add_part(struct outlet_batch *batch, int *count, const char *bytes, size_t len)
{
    if (len > 0)
        batch->parts[(*count)++] = (struct iovec){(void *)(uintptr_t)bytes, len};
}

static int batch_list_parts(struct outlet_batch *batch)
{
    int count = 0;
    if (batch->run) {
        batch_add_part(batch, &count, batch->run->bytes, batch->size);
        return count;
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct outlet_frame *frame = &batch->frames[i];
        if (frame->text_len > 0)
            batch_add_part(batch, &count, batch->text.bytes + frame->text_at, frame->text_len);
        batch_add_part(batch, &count, frame->body, frame->body_len);
        batch_add_part(batch, &count, frame->end, frame->end_len);
    }
    return count;
}

/* The rest of a frame of which `sent` bytes were taken. It is owed by reference, but where it begins in a
 * text of its own. */
static void outlet_owe(struct outlet *outlet, const struct outlet_batch *batch, size_t index, size_t sent)
{
    const struct outlet_frame *frame = &batch->frames[index];
    size_t body_at = sent > frame->text_len ? sent - frame->text_len : 0;
    if (sent < frame->text_len) {
        buf_append(&outlet->text, batch->text.bytes + frame->text_at + sent, frame->text_len - sent);
        buf_append(&outlet->text, frame->body, frame->body_len);
    } else if (body_at < frame->body_len) {
        outlet->owed = message_ref(batch->deliveries[index].message);
        outlet->tail = frame->body + body_at;
        outlet->tail_len = frame->body_len - body_at;
    }
    size_t end_at = body_at > frame->body_len ? body_at - frame->body_len : 0;
    buf_append(&outlet->text, frame->end + end_at, frame->end_len - end_at);
}

/* Takes back what the peer did not take; the frame that it took a part of is owed. Returns whether memory was
 * enough for that; otherwise the outlet is closed. */
static bool outlet_settle(struct outlet *outlet, struct outlet_batch *batch, size_t sent)
{
    size_t taken = 0;
    /* Of a run nothing is known but its size. */
    for (size_t i = 0; batch->run && i < batch->count; i++)
        batch_fill(batch, i);
    if (batch->has_failed) {
        outlet->ops->broken(outlet); /* where its peer's frame begins nobody knows */
        return false;
    }
    while (taken < batch->count) {
        const struct outlet_frame *frame = &batch->frames[taken];
        size_t len = frame->text_len + frame->body_len + frame->end_len;
        if (sent < len)
            break;
        sent -= len;
        taken++;
    }
    if (sent > 0) {
        outlet_owe(outlet, batch, taken, sent);
        taken++;
    }
    for (size_t i = batch->count; i > taken; i--)
        subscriber_retreat(&batch->deliveries[i - 1]);
    shard_count(outlet->shard, METRIC_DELIVERIES, taken);
    return true;
}

static enum outlet_progress outlet_write_batch(struct outlet *outlet, struct outlet_batch *batch,
                                               size_t *written)
{
    int count = batch->has_failed ? 0 : batch_list_parts(batch);
    ssize_t sent = count > 0 ? outlet_write(outlet, batch->parts, count) : 0;
    if (batch->has_failed)
        outlet->ops->broken(outlet);
    if (outlet->state == OUTLET_CLOSED)
        return OUTLET_GONE;
    *written += (size_t)sent;
    bool is_whole = (size_t)sent == batch->size;
    if (is_whole)
        shard_count(outlet->shard, METRIC_DELIVERIES, batch->count);
    if (is_whole && !socket_is_owing(outlet->fd))
        return OUTLET_MORE;
    if (!is_whole && !outlet_settle(outlet, batch, (size_t)sent))
        return OUTLET_GONE;
    outlet_set_blocked(outlet, true);
    return outlet->state == OUTLET_CLOSED ? OUTLET_GONE : OUTLET_WAITING;
}

static enum outlet_progress outlet_deliver_batch(struct outlet *outlet, struct subscriber *subscriber,
                                                 const struct outlet_format *format, uint64_t until,
                                                 size_t *written)
{
    struct outlet_batch batch;
    batch.format = format;
    batch.subscriber = subscriber;
    batch.text = (struct buf){0};
    batch.has_failed = false;
    batch.count = subscriber_read(subscriber, batch.deliveries, OUTLET_BATCH);
    bool is_full = batch.count == OUTLET_BATCH;
    while (batch.count > 0 && batch.deliveries[batch.count - 1].offset > until)
        batch.count--;
    if (batch.count == 0)
        return OUTLET_DONE;
    batch_tell(&batch);
    enum outlet_progress progress = outlet_write_batch(outlet, &batch, written);
    buf_deinit(&batch.text);
    return progress == OUTLET_MORE && !is_full ? OUTLET_DONE : progress;
}

enum outlet_progress outlet_deliver(struct outlet *outlet, struct subscriber *subscriber,
                                    const struct outlet_format *format, uint64_t until)
{
    enum outlet_progress progress = outlet->state == OUTLET_CLOSED ? OUTLET_GONE : OUTLET_MORE;
    size_t written = 0;
    bool has_to_flush = outlet->state == OUTLET_BLOCKED || !list_is_empty(&outlet->flush_link);
    if (has_to_flush && !outlet_flush(outlet))
        progress = OUTLET_WAITING;
    while (progress == OUTLET_MORE && written < OUTLET_TURN_BYTES)
        progress = outlet_deliver_batch(outlet, subscriber, format, until, &written);
    if (outlet->state == OUTLET_CLOSED)
        return OUTLET_GONE;
    if (progress == OUTLET_WAITING)
        subscriber_block(subscriber);
    else if (progress == OUTLET_MORE)
        subscriber_yield(subscriber);
    return progress;
}

/* All outlets. */

static void outlet_table_look(struct timer *timer)
{
    struct outlet_table *table = container_of(timer, struct outlet_table, timer);
    struct shard *shard = table->shard;
    uint64_t slow_ms = shard->options->slow_client_timeout_ms;
    list_for_each_safe (link, &table->blocked) {
        struct outlet *outlet = container_of(link, struct outlet, wait_link);
        if (shard->now_ms - outlet->progress_ms < slow_ms)
            continue;
        shard_count(shard, METRIC_SLOW_CUT, 1);
        outlet->ops->broken(outlet);
    }
    uint64_t again_ms = slow_ms / 8;
    again_ms = again_ms < OUTLET_LOOK_LEAST_MS  ? OUTLET_LOOK_LEAST_MS
               : again_ms > OUTLET_LOOK_MOST_MS ? OUTLET_LOOK_MOST_MS
                                                : again_ms;
    if (!list_is_empty(&table->blocked))
        timer_arm(&shard->wheel, timer, shard->now_ms + again_ms);
}

/* The kernel takes bytes before it says that it would, so any flush may relieve an outlet. */
void outlet_table_run(struct outlet_table *table)
{
    struct list *link;
    do {
        while ((link = list_first(&table->to_flush)))
            outlet_flush(container_of(link, struct outlet, flush_link));
        link = list_first(&table->relieved);
        struct outlet *outlet = link ? container_of(link, struct outlet, wait_link) : NULL;
        if (outlet) {
            outlet_move(outlet, OUTLET_READY);
            outlet->ops->relieved(outlet);
        }
    } while (link || !list_is_empty(&table->to_flush));
}

void outlet_table_init(struct outlet_table *table, struct shard *shard)
{
    *table = (struct outlet_table){.shard = shard};
    list_init(&table->to_flush);
    list_init(&table->blocked);
    list_init(&table->relieved);
    timer_init(&table->timer, outlet_table_look);
}
