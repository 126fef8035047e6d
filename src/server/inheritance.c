/* SPDX-License-Identifier: MIT */
#include "server/inheritance.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/log.h"

/* For one record after another. The other process has patience of its own (server/succession.c), which ends
 * sooner. */
#define INHERITANCE_WAIT_MS 60000
/* For the connection to Redis. */
#define INHERITANCE_BROKER_MS 5000u
#define INHERITANCE_READ_BYTES (256u << 10)
/* The kernel passes at most 253 at a time (SCM_MAX_FD). */
#define INHERITANCE_FDS_MOST 253u

static int inheritance_fail(int err, const char *what, char fault[INHERITANCE_FAULT_MAX])
{
    snprintf(fault, INHERITANCE_FAULT_MAX, "%s", what);
    return err;
}

/* Reading. */

static void inheritance_take_fds(struct inheritance *inheritance, struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
            if (inheritance->fds.count < ARRAY_LENGTH(inheritance->fds.items))
                inheritance->fds.items[inheritance->fds.count++] = fd;
            else
                close(fd);
        }
    }
}

/* Returns 0, or -errno; -EPIPE when the other process has closed, or is gone. */
static int inheritance_read(struct inheritance *inheritance, int wait_ms)
{
    union {
        char bytes[CMSG_SPACE(INHERITANCE_FDS_MOST * sizeof(int))];
        struct cmsghdr align;
    } room;
    struct pollfd wait = {.fd = inheritance->fd, .events = POLLIN};
    if (poll(&wait, 1, wait_ms) <= 0)
        return -ETIMEDOUT;
    if (buf_reserve(&inheritance->in, INHERITANCE_READ_BYTES))
        return -ENOMEM;
    struct iovec part = {inheritance->in.bytes + inheritance->in.len, INHERITANCE_READ_BYTES};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof(room.bytes)};
    ssize_t got = recvmsg(inheritance->fd, &message, MSG_CMSG_CLOEXEC);
    if (got <= 0)
        return got == 0 || errno == ECONNRESET ? -EPIPE : -errno;
    inheritance_take_fds(inheritance, &message);
    inheritance->in.len += (size_t)got;
    return 0;
}

/* The next record; good until the one behind it. */
static int inheritance_next(struct inheritance *inheritance, struct handover *record, int wait_ms)
{
    struct buf *in = &inheritance->in;
    for (;;) {
        ssize_t len = handover_parse(record, in->bytes + inheritance->used, in->len - inheritance->used);
        if (len > 0)
            inheritance->used += (size_t)len;
        if (len != 0)
            return len > 0 ? 0 : (int)len;
        if (inheritance->used > 0)
            memmove(in->bytes, in->bytes + inheritance->used, in->len - inheritance->used);
        in->len -= inheritance->used;
        inheritance->used = 0;
        int err = inheritance_read(inheritance, wait_ms);
        if (err)
            return err;
    }
}

static int inheritance_say(const struct inheritance *inheritance, const struct handover *record)
{
    struct buf out = {0};
    handover_append(&out, record);
    ssize_t sent = out.has_failed ? -1 : send(inheritance->fd, out.bytes, out.len, MSG_NOSIGNAL);
    int err = sent == (ssize_t)out.len ? 0 : out.has_failed ? -ENOMEM : errno == EPIPE ? -EPIPE : -EIO;
    buf_deinit(&out);
    return err;
}

/* Sockets. */

static char *inheritance_copy(struct text text)
{
    return strndup(text.bytes ? text.bytes : "", text.len);
}

static struct heirloom *inheritance_add(struct inheritance *inheritance, const struct handover *record)
{
    struct heirloom *heirlooms =
        realloc(inheritance->heirlooms, (inheritance->count + 1) * sizeof(*heirlooms));
    if (!heirlooms)
        return NULL;
    inheritance->heirlooms = heirlooms;
    struct heirloom *heirloom = &heirlooms[inheritance->count++];
    *heirloom = (struct heirloom){.place = record->numbers[2],
                                  .option = inheritance_copy(record->texts[0]),
                                  .written = inheritance_copy(record->texts[1]),
                                  .has_file = record->numbers[0] != 0,
                                  .fds = calloc(record->numbers[1], sizeof(int))};
    return heirloom->option && heirloom->written && heirloom->fds ? heirloom : NULL;
}

static int inheritance_take_sockets(struct inheritance *inheritance, const struct handover *record)
{
    uint64_t count = record->numbers[1];
    if (count == 0 || count > inheritance->fds.count)
        return -EINVAL;
    struct heirloom *heirloom = inheritance_add(inheritance, record);
    if (!heirloom)
        return -ENOMEM;
    heirloom->fd_count = count;
    memcpy(heirloom->fds, inheritance->fds.items, count * sizeof(int));
    inheritance->fds.count -= count;
    memmove(inheritance->fds.items, inheritance->fds.items + count, inheritance->fds.count * sizeof(int));
    heirloom->address.len = sizeof(heirloom->address.storage);
    return getsockname(heirloom->fds[0], (struct sockaddr *)&heirloom->address.storage,
                       &heirloom->address.len)
               ? -errno
               : 0;
}

int inheritance_begin(struct inheritance *inheritance, int fd, char fault[INHERITANCE_FAULT_MAX])
{
    struct handover record = {0};
    int err = 0;
    *inheritance = (struct inheritance){.fd = fd};
    while (!err && fd >= 0 && record.kind != HANDOVER_SOCKETS) {
        err = inheritance_next(inheritance, &record, INHERITANCE_WAIT_MS);
        if (!err && record.kind == HANDOVER_SOCKET)
            err = inheritance_take_sockets(inheritance, &record);
        else if (!err && record.kind != HANDOVER_SOCKETS)
            err = -EPROTO;
    }
    return err ? inheritance_fail(err, strerror(-err), fault) : 0;
}

static bool inheritance_is_same(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}

/* One address may have more sockets than are passed at a time: its records follow one another, and are
 * claimed as one. */
static void inheritance_join(struct inheritance *inheritance, size_t first)
{
    struct heirloom *to = &inheritance->heirlooms[first];
    for (size_t i = first + 1; i < inheritance->count; i++) {
        struct heirloom *from = &inheritance->heirlooms[i];
        int *fds;
        if (from->is_claimed || strcmp(from->option, to->option) != 0 ||
            !inheritance_is_same(&from->address, &to->address))
            continue;
        fds = realloc(to->fds, (to->fd_count + from->fd_count) * sizeof(int));
        if (!fds)
            return;
        memcpy(fds + to->fd_count, from->fds, from->fd_count * sizeof(int));
        to->fds = fds;
        to->fd_count += from->fd_count;
        from->is_claimed = true;
    }
}

struct heirloom *inheritance_claim(struct inheritance *inheritance, const char *option, const char *written,
                                   const struct address *address)
{
    for (size_t i = 0; i < inheritance->count; i++) {
        struct heirloom *heirloom = &inheritance->heirlooms[i];
        bool is_meant = option
                            ? strcmp(heirloom->option, option) == 0 && strcmp(heirloom->written, written) == 0
                            : inheritance_is_same(&heirloom->address, address);
        if (heirloom->is_claimed || !is_meant)
            continue;
        heirloom->is_claimed = true;
        inheritance_join(inheritance, i);
        return heirloom;
    }
    return NULL;
}

/* What the broker keeps. */

static void inheritance_log_lost(const char *why)
{
    log_event(
        LOG_ERROR, "state-not-inherited", LOG_TEXT("reason", why),
        LOG_TEXT("action",
                 "channels begin anew: who comes with a cursor is told a reset; nothing else is wrong"));
}

/* Takes records up to the end; those of a broker that keeps nothing itself, or that are of no use any more,
 * are dropped. Who has no memory for them leaves them to who has them. */
static int inheritance_take_state(struct inheritance *inheritance,
                                  const struct broker_handover *broker_handover, struct broker *broker,
                                  char why[BROKER_FAULT_MAX])
{
    struct handover record = {0};
    uint64_t records = 0;
    int lost = broker_handover ? 0 : -ENOTSUP;
    why[0] = '\0';
    while (record.kind != HANDOVER_END) {
        int err = inheritance_next(inheritance, &record, INHERITANCE_WAIT_MS);
        if (err)
            return err;
        records++;
        if (!lost)
            lost = broker_handover->take(broker, &record, why);
        if (lost == -ENOMEM)
            return lost;
    }
    /* From a process that keeps nothing comes a head and an end. */
    if (!broker_handover && records > 2)
        snprintf(why, BROKER_FAULT_MAX, "the broker is another one now");
    return 0;
}

static int inheritance_await_go(struct inheritance *inheritance)
{
    struct handover record;
    int err = inheritance_next(inheritance, &record, INHERITANCE_WAIT_MS);
    return err ? err : record.kind == HANDOVER_GO ? 0 : -EPROTO;
}

/* An engine elsewhere is connected to while the other process serves; one that is away is away for both. */
static void inheritance_await_broker(struct broker *broker)
{
    const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};
    uint64_t until_ms = clock_monotonic_ms() + INHERITANCE_BROKER_MS;
    while (!broker->ops->is_ready(broker) && clock_monotonic_ms() < until_ms)
        nanosleep(&step, NULL);
}

/* With the other process gone nobody else is there to serve: this one does, with what it has. */
static int inheritance_take_all(struct inheritance *inheritance, struct broker *broker, bool *is_whole)
{
    const struct broker_handover *broker_handover = broker->ops->handover;
    char why[BROKER_FAULT_MAX] = "";
    *is_whole = false;
    inheritance_await_broker(broker);
    int err = inheritance_say(
        inheritance, &(const struct handover){.kind = HANDOVER_READY, .numbers = {(uint64_t)getpid()}});
    if (!err)
        err = inheritance_take_state(inheritance, broker_handover, broker, why);
    *is_whole = !err && why[0] == '\0';
    if (broker_handover)
        broker_handover->end_taking(broker, *is_whole);
    if (err == -EPIPE)
        inheritance_log_lost("the other process ended before it had told it");
    else if (!err && why[0])
        inheritance_log_lost(why);
    if (!err)
        err = inheritance_say(inheritance, &(const struct handover){.kind = HANDOVER_LOADED,
                                                                    .numbers = {*is_whole},
                                                                    .texts = {text_of(why)}});
    return err ? err : inheritance_await_go(inheritance);
}

int inheritance_enter(struct inheritance *inheritance, struct broker *broker,
                      char fault[INHERITANCE_FAULT_MAX])
{
    bool is_whole;
    uint64_t begun_ms = clock_monotonic_ms();
    if (inheritance->fd < 0)
        return 0;
    int err = inheritance_take_all(inheritance, broker, &is_whole);
    if (err && err != -EPIPE)
        return inheritance_fail(err, strerror(-err), fault);
    log_event(LOG_INFO, "inherited", LOG_NUMBER("sockets", inheritance->count),
              LOG_TEXT("state", is_whole ? "whole" : "none"),
              LOG_NUMBER("messages", broker->counters[METRIC_MESSAGES]),
              LOG_NUMBER("took_ms", clock_monotonic_ms() - begun_ms));
    return 0;
}

static void heirloom_end(struct heirloom *heirloom, bool is_server)
{
    const struct sockaddr_un *address = (const struct sockaddr_un *)&heirloom->address.storage;
    if (!heirloom->is_claimed) {
        for (size_t i = 0; i < heirloom->fd_count; i++)
            close(heirloom->fds[i]);
        if (is_server && heirloom->has_file && address->sun_family == AF_UNIX)
            unlink(address->sun_path);
    }
    free(heirloom->option);
    free(heirloom->written);
    free(heirloom->fds);
}

static void inheritance_close(struct inheritance *inheritance)
{
    while (inheritance->fds.count > 0)
        close(inheritance->fds.items[--inheritance->fds.count]);
    buf_deinit(&inheritance->in);
    inheritance->used = 0;
    if (inheritance->fd >= 0)
        close(inheritance->fd);
    inheritance->fd = -1;
}

void inheritance_end(struct inheritance *inheritance, bool is_server)
{
    for (size_t i = 0; i < inheritance->count; i++)
        heirloom_end(&inheritance->heirlooms[i], is_server);
    free(inheritance->heirlooms);
    inheritance->heirlooms = NULL;
    inheritance->count = 0;
    inheritance->is_server = is_server;
    if (!is_server)
        inheritance_close(inheritance);
}

/* Connections. */

bool inheritance_take_client(struct inheritance *inheritance, struct inherited_client *client)
{
    struct handover record;
    int err = inheritance_next(inheritance, &record, 0);
    if (!err && (record.kind != HANDOVER_CLIENT || inheritance->fds.count == 0))
        err = -EPROTO;
    if (err == -ETIMEDOUT)
        return false;
    if (err) {
        inheritance_close(inheritance);
        return false;
    }
    *client = (struct inherited_client){.fd = inheritance->fds.items[0],
                                        .place = record.numbers[0],
                                        .is_kept = record.numbers[1] != 0,
                                        .address = record.texts[0],
                                        .early = record.texts[1]};
    inheritance->fds.count--;
    memmove(inheritance->fds.items, inheritance->fds.items + 1, inheritance->fds.count * sizeof(int));
    return true;
}
