/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_TOPIC_H
#define SLUICE_BROKER_REDIS_TOPIC_H

/* A channel as this node has it attached: what it knows of the log, and the shards to be told. */

#include "broker/redis/envelope.h"
#include "broker/redis/state.h"

struct topic *topic_find(const struct redis_broker *broker, const char *name, size_t len);

/* Requests of shards; answered when they are. */
void topic_attach(struct redis_broker *broker, struct attach_request *request);
void topic_detach(struct redis_broker *broker, struct attach_request *request);
void topic_history(struct redis_broker *broker, struct history_request *request);

/* What the feed says: an envelope came, the subscription is confirmed, or is gone. */
void topic_take_envelope(struct topic *topic, const char *bytes, size_t len);
void topic_subscribed(struct topic *topic);
void topic_unsubscribed(struct topic *topic);

/* A publish of this node has been answered before its envelope was seen: read your own writes. Borrows the
 * message. */
void topic_take_own(struct topic *topic, const struct epoch *epoch, struct message *message);

/* A message of a bridged channel; its offset is given here. Returns it, or 0 without memory. */
uint64_t topic_take_bridged(struct topic *topic, struct envelope *envelope);

/* A bridged channel's feed may have lost something: a new epoch, which begins empty. */
void topic_renew_bridged(struct topic *topic);

/* Drops what a bridged channel keeps, with a new epoch. */
void topic_purge_bridged(struct topic *topic);

/* The topic of a bridged channel, made if need be; NULL without memory. */
struct topic *topic_get_bridged(struct redis_broker *broker, const char *name, size_t len);

/* The server is up: subscribe. It is lost: what was subscribed there has to be again. */
void topic_server_up(struct server *server);
void topic_server_lost(struct server *server);

/* One slot, or any, has another server than before. */
void topic_slot_moved(struct server *server, uint16_t slot);
void topic_slots_changed(struct redis_broker *broker);

/* Frees all; attach requests that wait are answered. */
void topic_free_all(struct redis_broker *broker);

#endif
