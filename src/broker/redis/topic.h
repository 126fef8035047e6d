/* SPDX-License-Identifier: MIT */
#pragma once

/* A channel as this node has it attached: what it knows of the log, and the shards to be told. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/table.h"
#include "base/timer.h"
#include "broker/redis/resident.h"
#include "core/broker.h"
#include "core/ring.h"

struct open;
struct redis_broker;

/* A channel that some shard of this node has attached.
 *
 *   idle --subscribe--> subscribing --confirmed--> opening --answer--> live --last one leaves--> leaving -->
 * freed
 *
 * On any loss of the server it goes back to idle with what it knows. A bridged channel is that from its
 * beginning to its end: its log is here, and it lives on no server.
 */
enum topic_state { TOPIC_IDLE, TOPIC_SUBSCRIBING, TOPIC_OPENING, TOPIC_LIVE, TOPIC_LEAVING, TOPIC_BRIDGED };

struct topic {
    UT_hash_handle hh;
    struct redis_broker *broker;
    struct resident resident; /* of the server where it is subscribed; homeless otherwise */
    enum topic_state state;
    bool has_log;  /* `log` is known */
    bool has_hole; /* something newer than top + 1 was heard of, and not filled yet */
    bool is_gap;   /* a hole is being filled */
    uint8_t futile_opens;
    struct log_state log;
    int64_t last_published_ms;
    int64_t ahead_ms;  /* of the clock that the messages' times are of, at most; see struct attach_request */
    struct ring ring;  /* the newest messages, without holes */
    size_t counted;    /* messages of the ring, in the numbers */
    struct ring early; /* heard of while opening or filling a hole, of the log `early_epoch` */
    struct epoch early_epoch;
    struct ring passing; /* transient messages heard of too early, of the log `passing_epoch` */
    struct epoch passing_epoch;
    uint64_t own_passed; /* of the marks of this node's transient messages the last one that was told */
    struct open *open;   /* the call under way that asks for what is new; NULL when none */
    struct attachments attachments;
    struct letter *waiting;   /* attach requests, linked by their letters */
    struct timer timer;       /* to compare with Redis, or to try again */
    struct retention kept;    /* see topic_kept */
    uint32_t kept_generation; /* of the broker's options; 0 before it is known */
    uint16_t slot;
    uint8_t name_len;
    char name[]; /* terminated */
};

static inline struct text topic_name(const struct topic *topic)
{
    return (struct text){topic->name, topic->name_len};
}

struct topic *topic_find(const struct redis_broker *broker, struct text name);

/* Requests of shards; answered when they are. */
void topic_attach(struct redis_broker *broker, struct attach_request *request);
void topic_detach(struct redis_broker *broker, struct attach_request *request);

/* The feed says: the subscription is confirmed, or is gone. */
void topic_subscribed(struct topic *topic);
void topic_unsubscribed(struct topic *topic);

/* What topic_open came to: the answer is in the topic. */
void topic_opened(struct topic *topic);
void topic_open_failed(struct topic *topic, enum error_code error);

/* The topic of a bridged channel, made if need be; NULL without memory. */
struct topic *topic_get_bridged(struct redis_broker *broker, struct text name);
