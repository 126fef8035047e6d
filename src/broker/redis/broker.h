/* SPDX-License-Identifier: MIT */
#pragma once

/* What the files of this folder share: the clock, the options, the links' set, the numbers, and the roots of
 * what each of them owns. What hangs at a root is its owner's business, in its header. Everything belongs to
 * the broker's thread, except what is marked as atomic.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "base/racks.h"
#include "base/timer.h"
#include "broker/redis/link.h"
#include "broker/redis/refusal.h"
#include "broker/redis/url.h"
#include "core/broker.h"

struct bridge;
struct presence_desk;
struct revocations;
struct options;
struct redis_server;
struct topic;
struct trust;

#define REDIS_SLOTS 16384u
#define REDIS_NODE_LEN 8u

struct redis_broker {
    struct broker super;
    struct mailbox mailbox;
    pthread_t thread;
    bool is_to_be_cut; /* at the end of this turn */
    bool is_cut;       /* without servers, whatever is asked is refused */
    bool is_stopping;
    struct letter cut;
    struct letter stop;
    struct options *options;
    uint32_t generation; /* of the options */
    struct url url;
    struct trust *trust; /* NULL without TLS */
    int epoll_fd;
    struct timer_wheel wheel;
    struct link_set links;
    uint64_t now_ms;
    char node[REDIS_NODE_LEN + 1]; /* this process, in marks and in probes */
    struct refusals refusals;
    /* server.c */
    struct list servers;
    uint64_t server_count; /* made so far */
    struct list homeless;  /* residents of no server */
    /* cluster.c; without a Cluster every slot is the one server's */
    struct redis_server *slots[REDIS_SLOTS]; /* NULL where unknown */
    bool is_cluster;
    bool is_asking_slots;
    struct timer slots_timer;
    /* topic.c */
    struct topic *topics; /* by name */
    /* watch.c */
    struct racks watches; /* by prefix */
    struct racks news;    /* the same, by the Pub/Sub channel where they hear of names */
    struct list watch_scans;
    /* publish.c */
    struct list bridged_publishes;
    uint64_t marks; /* given to publishes so far */
    /* bridge.c */
    struct bridge *bridge; /* NULL when nothing is bridged */
    /* presence.c */
    struct presence_desk *presence;
    /* revocations.c */
    struct revocations *revocations;
    _Atomic bool is_ready;
};
