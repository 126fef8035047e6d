/* SPDX-License-Identifier: MIT */
#include "broker/redis/link.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/address.h"
#include "broker/redis/link_traffic.h"
#include "broker/redis/lookup.h"
#include "broker/redis/reader.h"
#include "broker/redis/secure.h"

/* Opening and closing. */

static void link_deadline_over(struct timer *timer)
{
    struct link *link = container_of(timer, struct link, deadline);
    struct link_set *set = link->set;
    char fault[LINK_FAULT_MAX];
    if (link->state == LINK_CONNECTED && list_is_empty(&link->waiting) && list_is_empty(&link->unsent))
        return;
    uint64_t due_ms = link->received_ms + set->timeout_ms;
    if (due_ms > set->now_ms) {
        timer_arm(set->wheel, timer, due_ms);
        return;
    }
    snprintf(fault, sizeof(fault),
             link->state == LINK_LOOKING_UP ? "the name is not looked up within %llu ms"
             : link->state == LINK_SECURING
                 ? "the TLS handshake is not over within %llu ms: does Redis speak TLS there?"
                 : "no answer within %llu ms",
             (unsigned long long)set->timeout_ms);
    link_break(link, fault);
}

void link_renew_timeout(struct link *link)
{
    if (timer_is_armed(&link->deadline))
        timer_arm(link->set->wheel, &link->deadline, link->set->now_ms);
}

void link_init(struct link *link, struct link_set *set, const struct link_ops *ops)
{
    *link = (struct link){.ops = ops, .set = set, .fd = -1};
    list_init(&link->unsent);
    list_init(&link->waiting);
    list_init(&link->flush_link);
    list_init(&link->read_link);
    list_init(&link->report_link);
    timer_init(&link->deadline, link_deadline_over);
}

bool link_is_open(const struct link *link)
{
    return link->state != LINK_CLOSED;
}

/* Each state has a descriptor of its own, but those after the socket is connected: they go on with it. */
static void link_move(struct link *link, enum link_state to)
{
    static const unsigned legal[] = {
        [LINK_CLOSED] = 1u << LINK_CLOSED | 1u << LINK_LOOKING_UP | 1u << LINK_CONNECTING,
        [LINK_LOOKING_UP] = 1u << LINK_CLOSED | 1u << LINK_CONNECTING,
        [LINK_CONNECTING] =
            1u << LINK_CLOSED | 1u << LINK_CONNECTING | 1u << LINK_SECURING | 1u << LINK_CONNECTED,
        [LINK_SECURING] = 1u << LINK_CLOSED | 1u << LINK_CONNECTED,
        [LINK_CONNECTED] = 1u << LINK_CLOSED,
    };
    assert(legal[link->state] & 1u << to);
    if (to < LINK_SECURING && link->fd >= 0) {
        if (link->state == LINK_CONNECTED && link->secure)
            secure_end(link->secure);
        /* The lookup's other descriptors would keep this one in the set: it cannot fail. */
        (void)epoll_ctl(link->set->epoll_fd, EPOLL_CTL_DEL, link->fd, NULL);
        close(link->fd);
        link->fd = -1;
    }
    if (to == LINK_CLOSED || to >= LINK_SECURING) {
        lookup_unref(link->lookup);
        link->lookup = NULL;
    }
    link->state = to;
}

static int link_watch(struct link *link, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = link};
    return epoll_ctl(link->set->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) ? -errno : 0;
}

static int link_connect_to(struct link *link, const struct sockaddr *address, socklen_t len)
{
    link_move(link, LINK_CONNECTING);
    link->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return -errno;
    const int on = 1;
    /* On a Unix socket there is nothing to delay, and the call fails. */
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    int err = link_watch(link, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    if (err)
        return err;
    /* The socket of a path is connected at once or not at all: EAGAIN is a full backlog. */
    return connect(link->fd, address, len) && errno != EINPROGRESS ? -errno : 0;
}

static int link_begin_lookup(struct link *link, const char *address)
{
    link->lookup = lookup_begin(&link->set->lookups, address);
    if (!link->lookup)
        return -ENOMEM;
    link->tried = 0;
    link_move(link, LINK_LOOKING_UP);
    link->fd = lookup_watch(link->lookup);
    return link->fd < 0 ? link->fd : link_watch(link, EPOLLIN);
}

/* Returns 0, or -errno with *why set where errno does not say enough. */
static int link_connect(struct link *link, const char *text, const char **why)
{
    struct address address;
    int err = address_parse_number(&address, text, why);
    if (err == -EINVAL)
        return err;
    *why = NULL;
    return err ? link_begin_lookup(link, text)
               : link_connect_to(link, (const struct sockaddr *)&address.storage, address.len);
}

static int link_connect_path(struct link *link, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return link_connect_to(link, (const struct sockaddr *)&address, sizeof(address));
}

/* The descriptor goes at once, so that nothing more happens on it; the reader may be in use further up. The
 * first fault counts: what fails after it fails because of it. */
void link_break(struct link *link, const char *fault)
{
    link_move(link, LINK_CLOSED);
    if (!list_is_empty(&link->report_link))
        return;
    snprintf(link->fault, sizeof(link->fault), "%s", fault);
    list_append(&link->set->to_report, &link->report_link);
}

void link_open(struct link *link, const char *address, bool is_unix)
{
    const char *why = NULL;
    link->received_ms = link->set->now_ms;
    link->is_refused = false;
    link->reader = reader_new();
    bool is_secure = link->set->trust && !is_unix;
    if (is_secure)
        link->secure = secure_new(link->set->trust, address);
    if (!link->reader || (is_secure && !link->secure)) {
        link_break(link, "no memory");
        return;
    }
    int err = is_unix ? link_connect_path(link, address) : link_connect(link, address, &why);
    if (err)
        link_break(link, why ? why : strerror(-err));
    else
        link_arm_deadline(link);
}

static void link_fail_all(struct link *link, struct list *commands)
{
    struct list failing;
    list_init(&failing);
    list_splice(&failing, commands);
    list_drain (first, &failing) {
        struct link_command *command = container_of(first, struct link_command, link);
        command->done(command, link, NULL);
    }
}

void link_close(struct link *link)
{
    link_move(link, LINK_CLOSED);
    if (link->reader)
        redisReaderFree(link->reader);
    link->reader = NULL;
    secure_free(link->secure);
    link->secure = NULL;
    link->unsent_offset = 0;
    link->unsent_bytes = 0;
    link->reply_bytes = 0;
    timer_stop(link->set->wheel, &link->deadline);
    list_remove(&link->flush_link);
    list_remove(&link->read_link);
    list_remove(&link->report_link);
    link_fail_all(link, &link->waiting);
    link_fail_all(link, &link->unsent);
}

/* Connects to the next address of the name, of which the one before was refused with `err`. */
static int link_connect_next(struct link *link, int err)
{
    const struct address *address;
    while (err && link->lookup && (address = lookup_find(link->lookup, link->tried))) {
        link->tried++;
        err = link_connect_to(link, (const struct sockaddr *)&address->storage, address->len);
    }
    return err;
}

static void link_finish_lookup(struct link *link)
{
    const char *why = NULL;
    int err = lookup_check(link->lookup, &why);
    if (err == -EAGAIN)
        return;
    if (!err)
        err = link_connect_next(link, -EADDRNOTAVAIL);
    if (err)
        link_break(link, why ? why : strerror(-err));
}

static void link_become_connected(struct link *link)
{
    link_move(link, LINK_CONNECTED);
    link->received_ms = link->set->now_ms;
    link->ops->connected(link);
}

/* What came with the end of the handshake is told by no further event. */
static void link_go_on_securing(struct link *link)
{
    int err = secure_handshake(link->secure);
    if (err == -EAGAIN)
        return;
    errno = -err;
    if (err) {
        link_break_io(link);
        return;
    }
    link_become_connected(link);
    if (link_is_open(link))
        list_append(&link->set->to_read, &link->read_link);
}

static void link_finish_connect(struct link *link)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &err, &len))
        err = errno;
    if (err) {
        err = link_connect_next(link, -err);
        if (err)
            link_break(link, strerror(-err));
        return;
    }
    if (!link->secure) {
        link_become_connected(link);
        return;
    }
    link_move(link, LINK_SECURING);
    secure_begin(link->secure, link->fd);
    link_go_on_securing(link);
}

void link_handle_events(struct link *link, uint32_t events)
{
    if (link->state == LINK_LOOKING_UP)
        link_finish_lookup(link);
    else if (link->state == LINK_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        link_finish_connect(link);
    else if (link->state == LINK_SECURING)
        link_go_on_securing(link);
    if (link->state == LINK_CONNECTED && (events & EPOLLOUT))
        link_write(link);
    if (link->state == LINK_CONNECTED && (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        link_read(link, (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0);
}

void link_set_init(struct link_set *set, int epoll_fd, struct timer_wheel *wheel, struct mailbox *mailbox)
{
    *set = (struct link_set){.epoll_fd = epoll_fd, .wheel = wheel, .mailbox = mailbox};
    list_init(&set->to_flush);
    list_init(&set->to_read);
    list_init(&set->to_report);
    list_init(&set->lookups);
}

void link_set_deinit(struct link_set *set)
{
    lookup_forget_all(&set->lookups);
}

bool link_set_run(struct link_set *set)
{
    struct list reading;
    list_init(&reading);
    list_splice(&reading, &set->to_read);
    list_drain (first, &reading)
        link_read(container_of(first, struct link, read_link), true);
    list_drain (first, &set->to_flush)
        link_write(container_of(first, struct link, flush_link));
    list_drain (first, &set->to_report) {
        struct link *link = container_of(first, struct link, report_link);
        link_close(link);
        link->ops->broken(link, link->fault);
    }
    return !list_is_empty(&set->to_read) || !list_is_empty(&set->to_flush);
}
