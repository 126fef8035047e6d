/* SPDX-License-Identifier: MIT */
#pragma once

/* A shard's table of attached channels, and who is served next.
 *
 * All functions run on the shard's thread. The hub attaches a channel at the broker with its first subscriber
 * and detaches it a linger time after the last has left, or sooner when too many linger.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "base/timer.h"
#include "core/broker.h"
#include "core/subscriber.h"

struct channel;
struct publish_guard;

/* What holds for a channel. */
struct channel_terms {
    struct retention kept; /* of its log */
    bool is_newest;        /* who says nothing else is told the newest of each key when he is slow */
    bool is_followed;      /* who is subscribed is made known (core/presence.h) */
};

/* What the hub takes from the options. */
struct hub_settings {
    /* Finds what holds for the channel of that name; `context` is handed to it and stays as long as these
     * settings. */
    struct channel_terms (*find_terms)(const void *context, struct text name);
    const void *context;
    bool follows_any; /* some channel may be followed */
    uint64_t linger_ms;
    uint64_t linger_most; /* channels */
};

struct hub {
    struct broker *broker;
    struct mailbox *mailbox; /* the shard's */
    struct timer_wheel *wheel;
    struct hub_settings settings;
    const struct publish_guard *guard; /* of core/publish.h; NULL lets everything through */
    uint32_t generation;               /* of the settings */
    struct channel *channels;          /* by name (uthash) */
    struct list dirty;                 /* channels with subscribers that are ready */
    struct list lingering; /* attached channels without a subscriber, those left longest ago first */
    struct list watchers;
    struct timer tend;
    uint64_t channel_count;
    uint64_t lingering_count;
    uint64_t subscriber_count[TRANSPORT_COUNT]; /* subscribers, not subscriptions */
    uint64_t resets_told;
    uint64_t refills;
    uint64_t requests_pending; /* at the broker; counted by hub_submit and hub_answered */
    uint64_t now_ms;           /* of this turn of the loop */
};

void hub_init(struct hub *hub, struct broker *broker, struct mailbox *mailbox, struct timer_wheel *wheel,
              const struct hub_settings *settings);

/* Other settings than before. */
void hub_configure(struct hub *hub, const struct hub_settings *settings);

/* Detaches every channel that no subscriber is left on; again, until hub_is_idle. */
void hub_close(struct hub *hub);
bool hub_is_idle(const struct hub *hub);

/* Whether who is subscribed to that channel is made known. A look at a flag where no channel is followed. */
bool hub_follows(const struct hub *hub, struct text name);

/* Serves ready subscribers, channel by channel in turns, for about `budget_ns`. Returns whether more are
 * waiting. */
bool hub_serve(struct hub *hub, uint64_t budget_ns);

/* How many subscriptions the channel has here by transport, added to `counts`; also counts those not yet
 * attached. */
void hub_count_subscriptions(struct hub *hub, const char *name, size_t len, uint64_t counts[TRANSPORT_COUNT]);

/* Visits the name of each channel that has a subscription here, and each prefix that is watched here. */
void hub_visit_channels(struct hub *hub, void (*visit)(void *context, const char *name, size_t len),
                        void *context);
void hub_visit_watched(struct hub *hub, void (*visit)(void *context, const char *prefix, size_t len),
                       void *context);

/* The one door to the broker: fills the common part of the request and submits it. Returns whether it is
 * answered already: then `done` is not called, and the caller goes on with what stands in the request.
 * Otherwise `done` is called with it later, from the loop. */
bool hub_submit(struct hub *hub, struct broker_request *request, enum broker_operation operation,
                void (*done)(struct broker_request *request));

/* From now on this hub's thread calls the broker when something is due there; for one hub of a broker. */
void hub_tend(struct hub *hub);

/* An answer that a broker's letter brings. */
void hub_answered(struct broker_request *request);
