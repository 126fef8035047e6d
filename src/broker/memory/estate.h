/* SPDX-License-Identifier: MIT */
#pragma once

/* All that the memory broker keeps, told to the process that takes its place and taken over there
 * (core/handover.h). While it is told nothing may be published, purged, revoked or expire: the broker is
 * frozen. Whoever calls holds the broker's lock.
 */

#include <stdbool.h>

#include "broker/memory/log.h"
#include "broker/memory/revocations.h"
#include "broker/memory/store.h"
#include "core/handover.h"
#include "core/roster.h"

/* What it consists of; the broker's. */
struct estate {
    struct store *store;
    struct roster *roster;
    struct memory_revocations *revocations;
    struct revocation_listeners *listeners;
};

enum estate_step {
    ESTATE_HEAD,
    ESTATE_LOGS,
    ESTATE_MESSAGES, /* of a log */
    ESTATE_KEYS,     /* of a log */
    ESTATE_REVOCATIONS,
    ESTATE_ROOMS,
    ESTATE_MEMBERS, /* of a room */
    ESTATE_END,
    ESTATE_TOLD,
};

/* How far the telling has come. */
struct estate_giver {
    enum estate_step step;
    char name[CHANNEL_NAME_MAX + 1]; /* of the last log or room */
    bool has_begun;                  /* there is a last one */
    const struct log *log;
    uint64_t offset; /* the last of the log */
    const struct list *key;
    size_t revocation; /* the next */
    const struct roster_room *room;
    char member[PERSONA_NAME_MAX + 1];
    bool has_member;
    uint64_t away_ms; /* how long people may be on their way from here to there */
    void *places;     /* JudyL: how many messages were told up to one, by its address */
    uint64_t message_count;
    uint64_t log_count;
    uint64_t place_count; /* messages and entries in logs */
};

void estate_giver_init(struct estate_giver *giver, uint64_t away_ms);
void estate_giver_deinit(struct estate_giver *giver);

/* Appends records until there are `most` bytes or one more, or all is told. Returns 1 when there is more, 0
 * when that was all, or -ENOMEM. */
int estate_give(struct estate_giver *giver, const struct estate *estate, struct buf *to, size_t most);

/* How far the taking has come. */
struct estate_taker {
    bool has_head;
    bool is_whole; /* the end has come, and fits */
    struct log *log;
    struct roster_room *room;
    uint64_t away_ms;
    struct message **messages; /* a reference to each that was told */
    size_t message_count;
    size_t message_capacity;
    uint64_t log_count;
    uint64_t place_count;
};

#define ESTATE_FAULT_MAX 256u

/* Takes a record; hostile. Nobody uses the broker yet. Returns 0; or -EINVAL, -EPROTONOSUPPORT or -ENOMEM
 * with `fault` a sentence, and then nothing of it is any good (estate_forget). */
int estate_take(struct estate_taker *taker, const struct estate *estate, const struct handover *record,
                char fault[ESTATE_FAULT_MAX]);
void estate_taker_deinit(struct estate_taker *taker);

/* Drops all logs and rooms. */
void estate_forget(const struct estate *estate);
