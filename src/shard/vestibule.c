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

/* Who is over a limit is waited for this long, so many at a time. */
#define VESTIBULE_UNWANTED_MS 500u
#define VESTIBULE_UNWANTED_MOST 64u

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

static bool guest_is_unwanted(const struct guest *guest)
{
    return guest->arrival.error != ERROR_NONE;
}

/* Of the two lists, the one whose first is over sooner; NULL when nobody waits. */
static struct guest *vestibule_first(const struct vestibule *vestibule)
{
    struct list *of_guests = list_first(&vestibule->guests);
    struct list *of_unwanted = list_first(&vestibule->unwanted);
    struct guest *guest = of_guests ? container_of(of_guests, struct guest, link) : NULL;
    struct guest *unwanted = of_unwanted ? container_of(of_unwanted, struct guest, link) : NULL;
    if (!guest || (unwanted && unwanted->deadline_ms < guest->deadline_ms))
        return unwanted;
    return guest;
}

static void vestibule_arm(struct vestibule *vestibule)
{
    const struct guest *first = vestibule_first(vestibule);
    if (first)
        timer_arm(&vestibule->shard->wheel, &vestibule->deadline, first->deadline_ms);
}

static void guest_leave(struct guest *guest)
{
    struct shard *shard = guest->listener->shard;
    struct vestibule *vestibule = &shard->listeners.vestibule;
    watch_remove(&guest->watch, shard->epoll_fd);
    list_remove(&guest->link);
    vestibule->unwanted_count -= guest_is_unwanted(guest);
    shard_reap(shard, &guest->garbage, guest_free);
    vestibule_arm(vestibule);
}

static void guest_close(struct guest *guest)
{
    struct shard *shard = guest->listener->shard;
    guest_leave(guest);
    socket_close(guest->arrival.fd);
    if (!guest_is_unwanted(guest))
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
    if (guest_is_unwanted(guest))
        connection_limits_add(listener->shard->group->limits, NULL, &arrival.key);
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
    struct guest *guest;
    while ((guest = vestibule_first(vestibule)) && guest->deadline_ms <= vestibule->shard->now_ms) {
        if (guest_is_unwanted(guest))
            guest_close(guest);
        else
            guest_refuse(guest);
    }
    vestibule_arm(vestibule);
}

void vestibule_init(struct vestibule *vestibule, struct shard *shard)
{
    *vestibule = (struct vestibule){.shard = shard};
    list_init(&vestibule->guests);
    list_init(&vestibule->unwanted);
    timer_init(&vestibule->deadline, vestibule_end_waits);
}

static void vestibule_line_up(struct vestibule *vestibule, struct guest *guest)
{
    struct list *list = guest_is_unwanted(guest) ? &vestibule->unwanted : &vestibule->guests;
    struct list *after = list;
    while (after->previous != list &&
           container_of(after->previous, struct guest, link)->deadline_ms > guest->deadline_ms)
        after = after->previous;
    list_append(after, &guest->link);
    vestibule_arm(vestibule);
}

bool vestibule_make_room(struct vestibule *vestibule)
{
    struct list *link = list_first(&vestibule->unwanted);
    if (link)
        guest_close(container_of(link, struct guest, link));
    return link != NULL;
}

/* Who is silent is not let to fill the place of others. */
static void vestibule_shun(struct vestibule *vestibule, struct guest *guest)
{
    if (vestibule->unwanted_count >= VESTIBULE_UNWANTED_MOST)
        (void)vestibule_make_room(vestibule); /* so many are there */
    vestibule->unwanted_count++;
    connection_limits_remove(vestibule->shard->group->limits, &guest->arrival.key);
    guest->deadline_ms = vestibule->shard->now_ms + VESTIBULE_UNWANTED_MS;
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
    guest->deadline_ms = shard->now_ms + shard->options->head_timeout_ms;
    if (guest_is_unwanted(guest))
        vestibule_shun(&shard->listeners.vestibule, guest);
    vestibule_line_up(&shard->listeners.vestibule, guest);
    return ERROR_NONE;
}

void vestibule_shut(struct vestibule *vestibule)
{
    struct guest *guest;
    while ((guest = vestibule_first(vestibule)))
        guest_close(guest);
    timer_stop(&vestibule->shard->wheel, &vestibule->deadline);
}
