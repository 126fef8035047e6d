/* SPDX-License-Identifier: MIT */
#include "broker/redis/link_traffic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "broker/redis/secure.h"

#define LINK_READ_BYTES 65536u
/* Reads in one turn: then the other links and the mailbox are looked at. */
#define LINK_READS 8u
#define LINK_WRITE_PARTS 64
/* A page of history has at most a few MiB and one message at most 64: beyond this it is no answer to us. */
#define LINK_REPLY_MAX (160u << 20)

/* Reading. */

static void link_deliver(struct link *link, const redisReply *reply)
{
    struct list *first = list_first(&link->waiting);
    link->reply_bytes = 0;
    if (first && !link->ops->pushed) {
        struct link_command *command = container_of(first, struct link_command, link);
        list_remove(first);
        command->done(command, link, reply);
    } else if (link->ops->pushed) {
        link->ops->pushed(link, reply);
    } else {
        link_break(link, "an answer came that nothing had been asked for");
    }
}

static void link_describe_garbage(struct link *link, const char *bytes, size_t len)
{
    char text[48];
    size_t count = 0;
    while (count < len && count < sizeof(text) - 1 && bytes[count] >= ' ' && bytes[count] < 0x7f) {
        text[count] = bytes[count];
        count++;
    }
    text[count] = '\0';
    char fault[LINK_FAULT_MAX];
    snprintf(fault, sizeof(fault), "what answers there is not Redis: %s%s%s", link->reader->errstr,
             count > 0 ? ", it begins with " : "", text);
    link_break(link, fault);
}

static void link_parse(struct link *link, const char *bytes, size_t len)
{
    link->received_ms = link->set->now_ms;
    link->reply_bytes += len;
    if (redisReaderFeed(link->reader, bytes, len) != REDIS_OK) {
        link_describe_garbage(link, bytes, len);
        return;
    }
    while (link_is_open(link)) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
            link_describe_garbage(link, bytes, len);
            return;
        }
        if (!reply)
            break;
        link_deliver(link, reply);
        freeReplyObject(reply);
    }
    if (link_is_open(link) && link->reply_bytes > LINK_REPLY_MAX)
        link_break(link, "an answer is larger than 160 MiB");
}

/* As recv. */
static ssize_t link_receive(struct link *link, char *to, size_t size)
{
    if (!link->secure)
        return recv(link->fd, to, size, 0);
    ssize_t len = secure_read(link->secure, to, size);
    errno = len < 0 ? (int)-len : 0;
    return len < 0 ? -1 : len;
}

/* As sendmsg. */
static ssize_t link_transmit(struct link *link, struct iovec *parts, int count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    if (!link->secure)
        return sendmsg(link->fd, &message, MSG_NOSIGNAL);
    ssize_t sent = secure_write(link->secure, parts, count);
    errno = sent < 0 ? (int)-sent : 0;
    return sent < 0 ? -1 : sent;
}

void link_break_io(struct link *link)
{
    bool is_of_tls = link->secure && errno == EPROTO;
    link->is_refused = is_of_tls && secure_is_refused(link->secure);
    link_break(link, is_of_tls ? secure_fault(link->secure) : strerror(errno));
}

/* A read that does not fill the buffer has taken all there was, and what comes later is told by a new event;
 * only the end of the connection may have been told with this one (`must_see_end`). TLS is read record by
 * record. */
void link_read(struct link *link, bool must_see_end)
{
    char bytes[LINK_READ_BYTES];
    list_remove(&link->read_link);
    for (unsigned i = 0; i < LINK_READS; i++) {
        ssize_t len = link_is_open(link) ? link_receive(link, bytes, sizeof(bytes)) : -1;
        if (!link_is_open(link) || (len < 0 && (errno == EAGAIN || errno == EINTR)))
            return;
        if (len < 0)
            link_break_io(link);
        if (len == 0)
            link_break(link, "Redis has closed the connection");
        if (len <= 0)
            return;
        /* What was asked of the broker before this came is served before it: a reader who came first gets it.
         */
        mailbox_drain(link->set->mailbox);
        if (!link_is_open(link))
            return;
        link_parse(link, bytes, (size_t)len);
        if ((size_t)len < sizeof(bytes) && !must_see_end && !link->secure)
            return;
    }
    list_append(&link->set->to_read, &link->read_link);
}

/* Sending. */

void link_arm_deadline(struct link *link)
{
    if (!timer_is_armed(&link->deadline))
        timer_arm(link->set->wheel, &link->deadline, link->set->now_ms + link->set->timeout_ms);
}

static int link_list_parts(const struct link *link, struct iovec *parts)
{
    int count = 0;
    size_t skip = link->unsent_offset;
    list_for_each (at, &link->unsent) {
        const struct link_command *command = container_of(at, const struct link_command, link);
        parts[count++] = (struct iovec){command->bytes + skip, command->len - skip};
        skip = 0;
        if (count == LINK_WRITE_PARTS)
            break;
    }
    return count;
}

/* Commands of a link that pushes are answered by pushes: they are done once they are sent. */
static void link_note_sent(struct link *link, size_t sent)
{
    struct list *first;
    link->unsent_bytes -= sent;
    sent += link->unsent_offset;
    while ((first = list_first(&link->unsent))) {
        struct link_command *command = container_of(first, struct link_command, link);
        if (sent < command->len)
            break;
        sent -= command->len;
        list_remove(first);
        if (link->ops->pushed)
            command->done(command, link, NULL);
        else
            list_append(&link->waiting, first);
    }
    link->unsent_offset = sent;
}

void link_write(struct link *link)
{
    struct iovec parts[LINK_WRITE_PARTS];
    list_remove(&link->flush_link);
    while (link->state == LINK_CONNECTED && !list_is_empty(&link->unsent)) {
        ssize_t sent = link_transmit(link, parts, link_list_parts(link, parts));
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            link_break_io(link);
        if (sent < 0)
            return;
        link_note_sent(link, (size_t)sent);
    }
}

void link_send(struct link *link, struct link_command *command)
{
    command->sent_ns = clock_monotonic_ns();
    if (!link_is_open(link)) {
        command->done(command, link, NULL);
        return;
    }
    /* The time begins with the question, however long nothing has come before it. */
    if (list_is_empty(&link->waiting) && list_is_empty(&link->unsent) && link->state == LINK_CONNECTED)
        link->received_ms = link->set->now_ms;
    list_append(&link->unsent, &command->link);
    link->unsent_bytes += command->len;
    link_arm_deadline(link);
    if (list_is_empty(&link->flush_link))
        list_append(&link->set->to_flush, &link->flush_link);
}

int command_format(struct link_command *command, int argc, const char *const *argv, const size_t *lengths)
{
    /* hiredis takes the vector as not constant, and does not write to it. */
    int len = redisFormatCommandArgv(&command->bytes, argc, (const char **)(uintptr_t)argv, lengths);
    list_init(&command->link);
    if (len < 0) {
        command->bytes = NULL;
        return -ENOMEM;
    }
    command->len = (size_t)len;
    return 0;
}

void command_deinit(struct link_command *command)
{
    redisFreeCommand(command->bytes);
    command->bytes = NULL;
}

struct words {
    struct link_command command;
    void (*answered)(struct link *link, const struct redisReply *reply);
};

static void link_words_done(struct link_command *command, struct link *link, const struct redisReply *reply)
{
    struct words *words = container_of(command, struct words, command);
    if (reply && words->answered)
        words->answered(link, reply);
    command_deinit(command);
    free(words);
}

int link_send_words(struct link *link, int argc, const char *const *argv,
                    void (*answered)(struct link *link, const struct redisReply *reply))
{
    struct words *words = calloc(1, sizeof(*words));
    if (!words || command_format(&words->command, argc, argv, NULL)) {
        free(words);
        return -ENOMEM;
    }
    words->command.done = link_words_done;
    words->answered = answered;
    link_send(link, &words->command);
    return 0;
}
