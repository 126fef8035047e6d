/* SPDX-License-Identifier: MIT */
#include "shard/porch.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "shard/shard.h"
#include "shard/socket.h"
#include "shard/tls.h"

/* Of each turn of the loop; a step that is begun is finished: half a millisecond to a signature with RSA. */
#define PORCH_TURN_NS 500000u
/* The first byte of whoever begins a handshake (RFC 8446, section 5.1). */
#define PORCH_HANDSHAKE 22

struct visitor {
    struct watch watch;
    struct list link;
    struct list ready_link;
    struct garbage garbage;
    struct listener *listener;
    struct arrival arrival;
    uint64_t deadline_ms;
    bool has_session;
    bool has_hung_up;
};

void porch_write_alert(int fd)
{
    /* handshake_failure: whoever gets it tries again later. */
    static const char alert[] = {21, 3, 3, 0, 2, 2, 40};
    farewell_tell(fd, alert, sizeof(alert));
}

static struct porch *visitor_porch(const struct visitor *visitor)
{
    return &visitor->listener->shard->porch;
}

static void visitor_free(struct garbage *garbage)
{
    free(container_of(garbage, struct visitor, garbage));
}

/* It is nobody's now but its socket. */
static void visitor_leave(struct visitor *visitor)
{
    struct porch *porch = visitor_porch(visitor);
    watch_remove(&visitor->watch, porch->shard->epoll_fd);
    list_remove(&visitor->link);
    list_remove(&visitor->ready_link);
    shard_reap(porch->shard, &visitor->garbage, visitor_free);
}

/* Its socket is closed once the peer has had time to read what it has been told, the last of which is in the
 * kernel: what the peer sends meanwhile is for nobody, and no session is kept to decipher it. */
static void visitor_end(struct visitor *visitor, bool is_told)
{
    struct shard *shard = visitor->listener->shard;
    int fd = visitor->arrival.fd;
    visitor_leave(visitor);
    connection_limits_remove(shard->group->limits, &visitor->arrival.key);
    shard_count(shard, METRIC_TLS_FAILED, 1);
    if (!is_told) {
        socket_close(fd);
        return;
    }
    tls_forget(fd);
    socket_end(fd);
    farewell_begin(&shard->farewells, fd);
}

static void visitor_refuse(struct visitor *visitor, enum error_code error)
{
    char text[LISTENER_ERROR_BYTES];
    const struct listener_ops *ops = visitor->listener->ops;
    farewell_tell(visitor->arrival.fd, text, ops->render_error(visitor->listener, error, text, sizeof(text)));
    visitor_end(visitor, true);
}

/* Who does not begin with a handshake speaks without TLS, and is told so in the same way. Nothing is kept for
 * who is silent. */
static void visitor_begin(struct visitor *visitor)
{
    int fd = visitor->arrival.fd;
    char first = 0;
    ssize_t got = socket_peek(fd, &first, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        visitor_end(visitor, false);
    } else if (first != PORCH_HANDSHAKE) {
        visitor_refuse(visitor, ERROR_TLS_WANTED);
    } else if (tls_begin(fd, visitor->listener->identity, &visitor->listener->shard->group->memory)) {
        porch_write_alert(fd);
        visitor_end(visitor, true);
    } else {
        visitor->has_session = true;
    }
}

/* Through the door. */
static void visitor_enter(struct visitor *visitor)
{
    struct listener *listener = visitor->listener;
    visitor_leave(visitor);
    shard_count(listener->shard, METRIC_TLS_HANDSHAKES, 1);
    listener_hand_over(listener, &visitor->arrival);
}

static void visitor_go_on(struct visitor *visitor)
{
    if (!visitor->has_session)
        visitor_begin(visitor);
    if (!visitor->has_session)
        return;
    switch (tls_handshake(tls_of(visitor->arrival.fd))) {
    case TLS_DONE:
        visitor_enter(visitor);
        break;
    case TLS_FAILED:
        visitor_end(visitor, true);
        break;
    case TLS_WAITING:
        if (visitor->has_hung_up)
            visitor_end(visitor, false);
        break;
    }
}

static void visitor_event(struct watch *watch, uint32_t events)
{
    struct visitor *visitor = container_of(watch, struct visitor, watch);
    if (events & (EPOLLHUP | EPOLLERR)) {
        visitor_end(visitor, false);
        return;
    }
    visitor->has_hung_up = visitor->has_hung_up || events & EPOLLRDHUP;
    if (list_is_empty(&visitor->ready_link))
        list_append(&visitor_porch(visitor)->ready, &visitor->ready_link);
}

static void porch_arm(struct porch *porch)
{
    struct list *first = list_first(&porch->visitors);
    if (first)
        timer_arm(&porch->shard->wheel, &porch->deadline,
                  container_of(first, struct visitor, link)->deadline_ms);
}

static void porch_line_up(struct porch *porch, struct visitor *visitor)
{
    struct list *after = &porch->visitors;
    while (after->previous != &porch->visitors &&
           container_of(after->previous, struct visitor, link)->deadline_ms > visitor->deadline_ms)
        after = after->previous;
    list_append(after, &visitor->link);
    porch_arm(porch);
}

enum error_code porch_take(struct listener *listener, const struct arrival *arrival)
{
    struct shard *shard = listener->shard;
    const int on = 1;
    const uint32_t events = (uint32_t)EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    struct visitor *visitor = calloc(1, sizeof(*visitor));
    if (!visitor)
        return ERROR_OUT_OF_MEMORY;
    if (watch_add(&visitor->watch, shard->epoll_fd, arrival->fd, events, visitor_event)) {
        free(visitor);
        return ERROR_OUT_OF_MEMORY;
    }
    setsockopt(arrival->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    visitor->listener = listener;
    visitor->arrival = *arrival;
    visitor->deadline_ms = shard->now_ms + shard->options->head_timeout_ms;
    list_init(&visitor->link);
    list_init(&visitor->ready_link);
    porch_line_up(&shard->porch, visitor);
    return ERROR_NONE;
}

void porch_run(struct porch *porch)
{
    uint64_t end_ns = list_is_empty(&porch->ready) ? 0 : clock_monotonic_ns() + PORCH_TURN_NS;
    struct list *link;
    while ((link = list_first(&porch->ready)) && clock_monotonic_ns() < end_ns) {
        list_remove(link);
        visitor_go_on(container_of(link, struct visitor, ready_link));
    }
}

static void porch_deadline_come(struct timer *timer)
{
    struct porch *porch = container_of(timer, struct porch, deadline);
    struct list *link;
    while ((link = list_first(&porch->visitors))) {
        struct visitor *visitor = container_of(link, struct visitor, link);
        if (visitor->deadline_ms > porch->shard->now_ms)
            break;
        visitor_end(visitor, false);
    }
    porch_arm(porch);
}

void porch_shut(struct porch *porch)
{
    list_for_each_safe (link, &porch->visitors)
        visitor_end(container_of(link, struct visitor, link), false);
}

void porch_init(struct porch *porch, struct shard *shard)
{
    *porch = (struct porch){.shard = shard};
    list_init(&porch->visitors);
    list_init(&porch->ready);
    timer_init(&porch->deadline, porch_deadline_come);
}
