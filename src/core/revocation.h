/* SPDX-License-Identifier: MIT */
#pragma once

/* A revocation: tokens that are not good any more although their time is not over. Brokers carry it without
 * knowing what a token is. A value type, borrowing its text; any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/text.h"

#define REVOCATION_TEXT_MAX 255u
#define REVOCATION_FORM_MAX (REVOCATION_TEXT_MAX + 64u)

enum revocation_kind {
    REVOCATION_TOKEN,   /* the one token with this id (jti) */
    REVOCATION_SUBJECT, /* every token of this subject (sub) that says it was issued by then */
};

struct revocation {
    enum revocation_kind kind;
    struct text text;  /* the id or the subject, 1 to REVOCATION_TEXT_MAX bytes */
    int64_t before_ms; /* wall clock; of a subject, a token with a later `iat` is good */
    int64_t until_ms;  /* wall clock; may be forgotten then */
};

/* As brokers keep it: "UNTIL token|subject BEFORE TEXT". Writes at most REVOCATION_FORM_MAX bytes, not
 * terminated; returns how many. */
size_t revocation_format(char to[REVOCATION_FORM_MAX], const struct revocation *revocation);

/* Parses the form, hostile; borrows it. Returns 0 or -EINVAL. */
int revocation_parse(struct revocation *revocation, struct text form);

/* Who is told of revocations; on its own thread, each at least once. */
struct revocation_listener {
    void (*revoked)(struct revocation_listener *listener, const struct revocation *revocation);
    /* Once: all that were kept when it began to listen have been told. */
    void (*complete)(struct revocation_listener *listener);
    struct letter letter; /* the broker's, for `complete` */
};

/* The listeners of all shards, for a broker to keep. */
struct revocation_listeners {
    struct {
        struct mailbox *mailbox;
        struct revocation_listener *listener;
        bool is_complete;
    } * items;
    unsigned count;
};

/* Returns 0 or -ENOMEM. */
int revocation_listeners_add(struct revocation_listeners *listeners, struct mailbox *mailbox,
                             struct revocation_listener *listener);

/* Posts it to all of them, or to none. Returns 0 or -ENOMEM. */
int revocation_listeners_tell(const struct revocation_listeners *listeners,
                              const struct revocation *revocation);

/* All that is kept has been told to all of them: those who have not been told so yet are told. */
void revocation_listeners_complete(struct revocation_listeners *listeners);

void revocation_listeners_deinit(struct revocation_listeners *listeners);
