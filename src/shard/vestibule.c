/* SPDX-License-Identifier: MIT */
#include "shard/vestibule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "shard/proxy_header.h"
#include "shard/shard.h"
#include "shard/socket.h"

/* Who is over a limit is waited for this long, so that he is told in the way that his head asks for. */
#define VESTIBULE_REFUSED_MS 500u

struct guest {
    struct watch watch;
    struct garbage garbage;
    struct list link;
    struct listener *listener;
    struct arrival arrival;
    uint64_t deadline_ms;
};

static void guest_free(struct garbage *garbage)
{
    free(container_of(garbage, struct guest, garbage));
}

static void vestibule_arm(struct vestibule *vestibule)
{
    struct list *first = list_first(&vestibule->guests);
    if (first)
        timer_arm(&vestibule->shard->wheel, &vestibule->deadline,
                  container_of(first, struct guest, link)->deadline_ms);
}

static void guest_leave(struct guest *guest)
{
    struct shard *shard = guest->listener->shard;
    watch_remove(&guest->watch, shard->epoll_fd);
    list_remove(&guest->link);
    shard_reap(shard, &guest->garbage, guest_free);
    vestibule_arm(&shard->listeners.vestibule);
}

static void guest_close(struct guest *guest)
{
    struct shard *shard = guest->listener->shard;
    guest_leave(guest);
    socket_close(guest->arrival.fd);
    connection_limits_remove(shard->group->limits, &guest->arrival.key);
    shard_count(shard, METRIC_REFUSED, 1);
}

/* An answer would be in a protocol that this peer has not been heard to speak. */
static void guest_refuse(struct guest *guest)
{
    char peer[ADDRESS_TEXT_MAX];
    address_format(&guest->arrival.address, peer);
    log_event(LOG_WARN, "no-proxy-header", LOG_TEXT("peer", peer),
              LOG_TEXT("listener", guest->arrival.entrance->address),
              LOG_TEXT("action", "have the proxy send the PROXY protocol (send-proxy-v2), or take "
                                 "proxy-protocol=yes from the listener"));
    guest_close(guest);
}

static void guest_admit(struct guest *guest, const struct proxy_header *header)
{
    char ignored[PROXY_HEADER_MAX];
    struct arrival arrival = guest->arrival;
    struct listener *listener = guest->listener;
    if (socket_read(arrival.fd, ignored, header->len) != (ssize_t)header->len) {
        guest_close(guest);
        return;
    }
    if (header->has_address)
        arrival.address = header->address;
    guest_leave(guest);
    listener_admit(listener, &arrival);
}

static void guest_look(struct guest *guest)
{
    char bytes[PROXY_HEADER_MAX];
    struct proxy_header header;
    ssize_t got = socket_peek(guest->arrival.fd, bytes, sizeof(bytes));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* Balancers look whether somebody listens, and say nothing. */
    if (got <= 0) {
        guest_close(guest);
        return;
    }
    int err = proxy_header_parse(&header, bytes, (size_t)got);
    if (err == 0)
        guest_admit(guest, &header);
    else if (err != -EAGAIN)
        guest_refuse(guest);
}

static void guest_event(struct watch *watch, uint32_t events)
{
    struct guest *guest = container_of(watch, struct guest, watch);
    guest_look(guest);
    /* What has not come before the end never comes; a guest that has left is not watched. */
    if (guest->watch.fd >= 0 && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        guest_refuse(guest);
}

static void vestibule_end_waits(struct timer *timer)
{
    struct vestibule *vestibule = container_of(timer, struct vestibule, deadline);
    struct list *link;
    while ((link = list_first(&vestibule->guests))) {
        struct guest *guest = container_of(link, struct guest, link);
        if (guest->deadline_ms > vestibule->shard->now_ms)
            break;
        guest_refuse(guest);
    }
    vestibule_arm(vestibule);
}

void vestibule_init(struct vestibule *vestibule, struct shard *shard)
{
    *vestibule = (struct vestibule){.shard = shard};
    list_init(&vestibule->guests);
    timer_init(&vestibule->deadline, vestibule_end_waits);
}

static void vestibule_line_up(struct vestibule *vestibule, struct guest *guest)
{
    struct list *after = &vestibule->guests;
    while (after->previous != &vestibule->guests &&
           container_of(after->previous, struct guest, link)->deadline_ms > guest->deadline_ms)
        after = after->previous;
    list_append(after, &guest->link);
    vestibule_arm(vestibule);
}

enum error_code vestibule_take(struct listener *listener, const struct arrival *arrival)
{
    struct shard *shard = listener->shard;
    struct guest *guest = calloc(1, sizeof(*guest));
    if (!guest)
        return ERROR_OUT_OF_MEMORY;
    if (watch_add(&guest->watch, shard->epoll_fd, arrival->fd, EPOLLIN | EPOLLRDHUP | EPOLLET, guest_event)) {
        free(guest);
        return ERROR_OUT_OF_MEMORY;
    }
    guest->listener = listener;
    guest->arrival = *arrival;
    guest->deadline_ms = shard->now_ms + (arrival->error == ERROR_NONE ? shard->options->head_timeout_ms
                                                                       : VESTIBULE_REFUSED_MS);
    vestibule_line_up(&shard->listeners.vestibule, guest);
    return ERROR_NONE;
}

void vestibule_shut(struct vestibule *vestibule)
{
    list_for_each_safe (link, &vestibule->guests)
        guest_close(container_of(link, struct guest, link));
    timer_stop(&vestibule->shard->wheel, &vestibule->deadline);
}
