/* SPDX-License-Identifier: MIT */
#pragma once

/* What happens to the logs of channels that have events, on its way to where that is told: in a Cluster they
 * are in other slots than $channel, where sluice.lua cannot reach from them. Every node hears of it on one
 * Pub/Sub channel of the whole Cluster and hands it on with its next call of `occupancy` (occupancy.h), which
 * knows what it was told before; and it asks in a log's own slot whether that has ended. Without a Cluster it
 * has nothing to do. On the broker's thread.
 */

#include <stdbool.h>

#include "base/list.h"
#include "base/text.h"

struct chronicle;
struct presence_desk;
struct redis_broker;

#define CHRONICLE_CHANNEL "sluice:{$channel}:w"

/* NULL when memory is out. */
struct chronicle *chronicle_new(struct presence_desk *desk);

/* After the servers are closed; NULL is allowed. */
void chronicle_free(struct chronicle *chronicle);

/* The feed says what has happened; hostile. */
void chronicle_receive(struct redis_broker *broker, struct text text);

/* Whether there is something to hand on. */
bool chronicle_has_news(const struct chronicle *chronicle);

/* Adds two words for each piece of news, of `most` at most, which go into `taken`: they are handed back as
 * told or not. Returns how many words. */
unsigned chronicle_list_words(struct chronicle *chronicle, struct text *words, unsigned most,
                              struct list *taken);
void chronicle_settle(struct chronicle *chronicle, struct list *taken, bool is_told);

/* Asks whether there still is a log of that name, which was begun at `born`; what it finds is news. */
void chronicle_ask(struct chronicle *chronicle, struct text name, struct text born);
