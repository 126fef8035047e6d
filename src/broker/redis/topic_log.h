/* SPDX-License-Identifier: MIT */
#pragma once

/* The log of a topic: what came by the feed, what is read from the stream, and how the two become one order
 * without holes. */

#include <stddef.h>
#include <stdint.h>

struct envelope;
struct epoch;
struct message;
struct retention;
struct topic;

/* Asks Redis for what is new since what is known: after subscribing, on a hole, and now and then to compare.
 * Ends with topic_opened or topic_open_failed. */
void topic_open(struct topic *topic);

/* Tells the shards of the transient messages that were heard of too early, and behind which the log has come.
 */
void topic_tell_passing(struct topic *topic);

/* Forgets what came too early, and the call under way. */
void topic_stop_opening(struct topic *topic);

/* What of the log is kept; found when it is asked for first, and after a reload. */
const struct retention *topic_kept(struct topic *topic);

/* Drops the messages held here, all or those that have expired. */
void topic_drop_ring(struct topic *topic);
void topic_expire_ring(struct topic *topic);

/* An envelope came by the feed. */
void topic_receive(struct topic *topic, const char *bytes, size_t len);

/* A publish of this node has been answered before its envelope was seen: read your own writes. Borrows the
 * message. */
void topic_append_own(struct topic *topic, const struct epoch *epoch, struct message *message);

/* The same of a transient one, with the number in its mark. Whatever cannot be told at once comes by the
 * feed. */
void topic_pass_own(struct topic *topic, const struct epoch *epoch, struct message *message, uint64_t number);

/* A message of a bridged channel; its offset is given here. Returns 0 or -ENOMEM. */
int topic_append_bridged(struct topic *topic, struct envelope *envelope);

/* A bridged channel's feed may have lost something: a new epoch, which begins empty. */
void topic_renew_bridged(struct topic *topic);

/* Drops what a bridged channel keeps, with a new epoch. */
void topic_purge_bridged(struct topic *topic);
