/* SPDX-License-Identifier: MIT */
#include "server/succession.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config.h"
#include "core/handover.h"

/* How long the other process may take to start: it may have names to look up and a lot of rules to read. */
#define SUCCESSION_START_MS 30000u
/* How long requests that are under way may go on before what is published is refused, and how often that is
 * looked at. */
#define SUCCESSION_CALM_MS 200u
#define SUCCESSION_CALM_STEP_MS 5u
/* How long publishers may be refused at most: as long as most of them try. */
#define SUCCESSION_GIVE_MS 20000u
/* How long a process may take to die of SIGKILL. */
#define SUCCESSION_KILL_MS 5000
/* How long the new server may take to read of a connection that is passed on to it. */
#define SUCCESSION_PASS_MS 2000
#define SUCCESSION_CHUNK_BYTES (256u << 10)
/* Of what the other process says, which is little. */
#define SUCCESSION_READ_BYTES 4096u
/* The kernel passes at most 253 at a time (SCM_MAX_FD). */
#define SUCCESSION_FDS_MOST 200u

static const struct broker_handover *succession_handover(const struct succession *succession)
{
    return succession->group->broker->ops->handover;
}

/* What is published on connections that had no request under way when it began waits; the rest is refused. */
static void succession_freeze(const struct succession *succession, bool is_frozen)
{
    const struct broker_handover *handover = succession_handover(succession);
    if (handover)
        handover->freeze(succession->group->broker, is_frozen, succession->away_ms);
}

static void succession_close(struct succession *succession)
{
    if (succession->fd >= 0)
        close(succession->fd);
    succession->fd = -1;
    buf_deinit(&succession->out);
    buf_deinit(&succession->in);
    succession->sent = 0;
}

/* It must not serve when this one does: so it is seen to be gone first. */
static void succession_kill(struct succession *succession)
{
    char nowhere[SUCCESSION_READ_BYTES];
    uint64_t until_ms = clock_monotonic_ms() + SUCCESSION_KILL_MS;
    ssize_t got = 1;
    keeper_kill_next(&succession->keeper);
    while (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
        struct pollfd wait = {.fd = succession->fd, .events = POLLIN};
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= until_ms || poll(&wait, 1, (int)(until_ms - now_ms)) == 0) {
            log_event(LOG_ERROR, "successor-stays", LOG_NUMBER("pid", succession->pid),
                      LOG_TEXT("action", "end that process: two servers must not run"));
            return;
        }
        got = recv(succession->fd, nowhere, sizeof(nowhere), MSG_DONTWAIT);
    }
}

static void succession_begin_round(struct succession *succession);

static void succession_move(struct succession *succession, enum succession_state to)
{
    static const unsigned legal[] = {
        [SUCCESSION_NONE] = 1u << SUCCESSION_STARTING,
        [SUCCESSION_STARTING] = 1u << SUCCESSION_CALMING | 1u << SUCCESSION_NONE,
        [SUCCESSION_CALMING] = 1u << SUCCESSION_GIVING | 1u << SUCCESSION_NONE,
        [SUCCESSION_GIVING] = 1u << SUCCESSION_AWAITING | 1u << SUCCESSION_NONE,
        [SUCCESSION_AWAITING] = 1u << SUCCESSION_OVER | 1u << SUCCESSION_NONE,
        [SUCCESSION_OVER] = 0,
    };
    assert(legal[succession->state] & 1u << to);
    bool was_frozen = succession->state == SUCCESSION_GIVING || succession->state == SUCCESSION_AWAITING;
    succession->state = to;
    switch (to) {
    case SUCCESSION_NONE:
        succession_close(succession);
        if (was_frozen)
            succession_freeze(succession, false);
        succession->group->is_succeeded = false;
        break;
    case SUCCESSION_STARTING:
        succession->begun_ms = clock_monotonic_ms();
        succession->until_ms = succession->begun_ms + SUCCESSION_START_MS;
        break;
    case SUCCESSION_CALMING:
        succession->calmed_ms = clock_monotonic_ms();
        succession->until_ms = succession->calmed_ms + SUCCESSION_GIVE_MS;
        succession->group->is_succeeded = true;
        succession_begin_round(succession);
        break;
    case SUCCESSION_GIVING:
        succession->has_more = true;
        succession_freeze(succession, true);
        break;
    case SUCCESSION_AWAITING:
        break;
    case SUCCESSION_OVER:
        break;
    }
}

/* Calming. */

static void calm_round_end(struct succession *succession)
{
    struct calm_round *round = &succession->round;
    uint64_t now_ms = clock_monotonic_ms();
    bool may_wait = succession_handover(succession) && now_ms < succession->calmed_ms + SUCCESSION_CALM_MS;
    round->is_out = false;
    if (succession->state != SUCCESSION_CALMING)
        return;
    if (round->is_void)
        succession_begin_round(succession);
    else if (round->has_busy && may_wait)
        round->next_ms = now_ms + SUCCESSION_CALM_STEP_MS;
    else
        succession_move(succession, SUCCESSION_GIVING);
}

/* On each shard's thread in turn: whose request it has looked at before is answered, or counted. Then on the
 * main thread. */
static void calm_round_arrive(struct letter *letter)
{
    struct calm_round *round = container_of(letter, struct calm_round, letter);
    struct succession *succession = container_of(round, struct succession, round);
    struct shard_group *group = succession->group;
    if (round->next == group->count) {
        calm_round_end(succession);
        return;
    }
    struct shard *shard = &group->shards[round->next++];
    door_hold(&shard->door);
    round->has_busy = round->has_busy || drain_count_requests(shard) > 0;
    mailbox_post(round->next < group->count ? &group->shards[round->next].mailbox : group->home, letter);
}

static void succession_begin_round(struct succession *succession)
{
    struct calm_round *round = &succession->round;
    round->is_void = round->is_out;
    round->next_ms = UINT64_MAX;
    if (round->is_out)
        return;
    round->is_out = true;
    round->next = 0;
    round->has_busy = false;
    round->letter.deliver = calm_round_arrive;
    mailbox_post(&succession->group->shards[0].mailbox, &round->letter);
}

void succession_abandon(struct succession *succession, const char *reason)
{
    log_event(
        LOG_ERROR, "upgrade-failed", LOG_TEXT("reason", reason),
        LOG_TEXT("action",
                 "this process goes on as before; what the other one has said stands above; mend it and "
                 "signal again"));
    succession_kill(succession);
    succession_move(succession, SUCCESSION_NONE);
}

/* Beginning. */

/* Sends the beginning of `out`, with descriptors. Returns as sendmsg(). */
static ssize_t succession_send_with(const struct succession *succession, const struct buf *out,
                                    const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(SUCCESSION_FDS_MOST * sizeof(int))];
        struct cmsghdr align;
    } room = {{0}};
    struct iovec part = {out->bytes, out->len};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    return sendmsg(succession->fd, &message, MSG_NOSIGNAL);
}

/* Returns 0 or -errno. */
static int succession_send_sockets(const struct succession *succession, size_t place, size_t first,
                                   size_t count)
{
    const struct listening *listening = &succession->listenings->items[place];
    struct buf out = {0};
    handover_append(&out,
                    &(const struct handover){.kind = HANDOVER_SOCKET,
                                             .numbers = {listening->has_file, count, place},
                                             .texts = {text_of(listening->option),
                                                       text_of(listening->declaration.entrance.address)}});
    ssize_t sent =
        out.has_failed ? -1 : succession_send_with(succession, &out, listening->fds + first, count);
    int err = sent == (ssize_t)out.len ? 0 : out.has_failed ? -ENOMEM : sent < 0 ? -errno : -EIO;
    buf_deinit(&out);
    return err;
}

static int succession_send_all_sockets(const struct succession *succession)
{
    int err = 0;
    for (size_t i = 0; !err && i < succession->listenings->count; i++) {
        const struct listening *listening = &succession->listenings->items[i];
        for (size_t first = 0; !err && first < listening->fd_count; first += SUCCESSION_FDS_MOST) {
            size_t left = listening->fd_count - first;
            err = succession_send_sockets(succession, i, first,
                                          left < SUCCESSION_FDS_MOST ? left : SUCCESSION_FDS_MOST);
        }
    }
    return err;
}

static void succession_say(struct succession *succession, enum handover_kind kind)
{
    handover_append(&succession->out, &(const struct handover){.kind = kind});
}

void succession_begin(struct succession *succession, uint64_t away_ms)
{
    if (succession->state != SUCCESSION_NONE) {
        log_event(LOG_WARN, "upgrade-refused", LOG_TEXT("reason", "an upgrade is under way"));
        return;
    }
    log_event(LOG_INFO, "upgrading", LOG_TEXT("signal", "SIGUSR2"));
    int fd = keeper_start_next(&succession->keeper);
    int err = fd < 0 ? fd : 0;
    succession->fd = fd;
    succession->pid = 0;
    succession->away_ms = away_ms;
    if (err) {
        log_event(LOG_ERROR, "upgrade-failed", LOG_TEXT("reason", strerror(-err)),
                  LOG_TEXT("action", "no process can be started; restart the service"));
        return;
    }
    succession_move(succession, SUCCESSION_STARTING);
    err = succession_send_all_sockets(succession);
    if (!err && fcntl(fd, F_SETFL, O_NONBLOCK))
        err = -errno;
    succession_say(succession, HANDOVER_SOCKETS);
    if (err)
        succession_abandon(succession, err == -EPIPE ? "it ended before it was ready" : strerror(-err));
}

/* Going on. */

/* Fills what is to be sent. */
static int succession_fill(struct succession *succession)
{
    const struct broker_handover *handover = succession_handover(succession);
    int result = 0;
    if (handover) {
        result = handover->give(succession->group->broker, &succession->out, SUCCESSION_CHUNK_BYTES);
    } else {
        handover_append(&succession->out, &(const struct handover){.kind = HANDOVER_HEAD,
                                                                   .numbers = {HANDOVER_VERSION},
                                                                   .texts = {text_of(PACKAGE_VERSION)}});
        succession_say(succession, HANDOVER_END);
    }
    succession->has_more = result == 1;
    return result < 0 ? result : 0;
}

/* Sends what there is. Returns 0 or -errno. */
static int succession_send(struct succession *succession)
{
    struct buf *out = &succession->out;
    for (;;) {
        if (succession->sent == out->len) {
            succession->sent = out->len = 0;
            if (succession->state != SUCCESSION_GIVING)
                return 0;
            if (!succession->has_more) {
                succession_move(succession, SUCCESSION_AWAITING);
                return 0;
            }
            int err = succession_fill(succession);
            if (err)
                return err;
        }
        if (out->has_failed)
            return -ENOMEM;
        ssize_t sent = send(succession->fd, out->bytes + succession->sent, out->len - succession->sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        succession->sent += (size_t)sent;
    }
}

/* The point of no return: from here on the other process is the server, whatever becomes of either. The
 * service manager hears so from this one first, because it believes nobody else. */
static int succession_end(struct succession *succession, const struct handover *loaded)
{
    uint64_t now_ms = clock_monotonic_ms();
    notify_say(succession->notify, "MAINPID=%ld\nSTATUS=another process takes over", succession->pid);
    succession_say(succession, HANDOVER_GO);
    int err = succession_send(succession);
    if (err) {
        notify_say(succession->notify, "MAINPID=%ld\nSTATUS=serving; an upgrade failed, see the log",
                   (long)getpid());
        return err;
    }
    listenings_leave_files(succession->listenings);
    if (loaded->numbers[0] == 0 && succession_handover(succession))
        log_event(LOG_ERROR, "state-not-inherited", LOG_TEXT("action", "the other process says above why"));
    log_event(LOG_INFO, "succeeded", LOG_NUMBER("pid", succession->pid),
              LOG_NUMBER("took_ms", now_ms - succession->begun_ms),
              LOG_NUMBER("refused_ms", now_ms - succession->calmed_ms),
              LOG_TEXT("action", "clients are let go, and come back to the other process"));
    notify_close(succession->notify);
    succession_move(succession, SUCCESSION_OVER);
    return 0;
}

/* Returns 0 or -errno. */
static int succession_hear(struct succession *succession, const struct handover *record)
{
    if (record->kind == HANDOVER_READY && succession->state == SUCCESSION_STARTING) {
        succession->pid = (long)record->numbers[0];
        succession_move(succession, SUCCESSION_CALMING);
        return 0;
    }
    if (record->kind == HANDOVER_LOADED && succession->state == SUCCESSION_AWAITING)
        return succession_end(succession, record);
    return -EPROTO;
}

static int succession_read(struct succession *succession)
{
    struct buf *in = &succession->in;
    struct handover record;
    if (buf_reserve(in, SUCCESSION_READ_BYTES))
        return -ENOMEM;
    ssize_t got = recv(succession->fd, in->bytes + in->len, SUCCESSION_READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return got == 0 ? -EPIPE : -errno;
    in->len += (size_t)got;
    if (in->len > SUCCESSION_READ_BYTES)
        return -EPROTO;
    ssize_t len = handover_parse(&record, in->bytes, in->len);
    if (len <= 0)
        return (int)len;
    if ((size_t)len != in->len)
        return -EPROTO;
    int err = succession_hear(succession, &record);
    in->len = 0;
    return err;
}

short succession_events(const struct succession *succession)
{
    bool has_to_send = succession->out.len > succession->sent || succession->state == SUCCESSION_GIVING;
    return (short)(POLLIN | (has_to_send ? POLLOUT : 0));
}

uint64_t succession_wait_ms(const struct succession *succession, uint64_t now_ms)
{
    uint64_t due_ms = succession->until_ms;
    if (!succession_is_on(succession))
        return UINT64_MAX;
    if (succession->state == SUCCESSION_CALMING && succession->round.next_ms < due_ms)
        due_ms = succession->round.next_ms;
    return now_ms < due_ms ? due_ms - now_ms : 0;
}

bool succession_run(struct succession *succession)
{
    if (!succession_is_on(succession))
        return false;
    if (succession->state == SUCCESSION_CALMING && clock_monotonic_ms() >= succession->round.next_ms)
        succession_begin_round(succession);
    int err = succession_read(succession);
    if (!err && succession_is_on(succession))
        err = succession_send(succession);
    if (err)
        succession_abandon(succession, err == -EPIPE || err == -ECONNRESET ? "it ended before it was ready"
                                       : err == -EPROTO || err == -EINVAL
                                           ? "it says what cannot be understood"
                                           : strerror(-err));
    else if (succession_is_on(succession) && clock_monotonic_ms() >= succession->until_ms)
        succession_abandon(succession, "it was not ready in time");
    return succession->state == SUCCESSION_OVER;
}

/* Connections. */

/* Sends all of it, with the descriptor. Returns 0 or -errno. */
static int succession_send_connection(const struct succession *succession, const struct buf *out, int fd)
{
    size_t done = 0;
    while (done < out->len) {
        struct pollfd wait = {.fd = succession->fd, .events = POLLOUT};
        if (poll(&wait, 1, SUCCESSION_PASS_MS) <= 0)
            return -ETIMEDOUT;
        ssize_t sent = done == 0 ? succession_send_with(succession, out, &fd, 1)
                                 : send(succession->fd, out->bytes + done, out->len - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        done += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

void succession_pass_on(struct succession *succession, const struct passenger *passenger)
{
    struct buf out = {0};
    size_t place = 0;
    while (&succession->listenings->items[place].declaration.entrance != passenger->entrance)
        place++;
    handover_append(&out, &(const struct handover){
                              .kind = HANDOVER_CLIENT,
                              .numbers = {place, passenger->is_kept},
                              .texts = {{(const char *)passenger->address, sizeof(passenger->address)},
                                        {passenger->early, passenger->early_len}}});
    int err = succession->fd < 0 ? -EPIPE : out.has_failed ? -ENOMEM : 0;
    if (!err)
        err = succession_send_connection(succession, &out, passenger->fd);
    /* One that has been told in part, or too late, is the last. */
    if (err && err != -ENOMEM && succession->fd >= 0) {
        log_event(LOG_WARN, "connections-not-passed-on", LOG_TEXT("reason", strerror(-err)));
        succession_close(succession);
    }
    buf_deinit(&out);
}

bool succession_is_on(const struct succession *succession)
{
    return succession->state != SUCCESSION_NONE && succession->state != SUCCESSION_OVER;
}

void succession_deinit(struct succession *succession)
{
    succession_close(succession);
    keeper_stop(&succession->keeper);
}
