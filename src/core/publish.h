/* SPDX-License-Identifier: MIT */
#pragma once

/* A message that somebody wants published, by whatever way it came: what is checked before a broker sees it.
 * Any thread. */

#include "core/broker.h"

#define PUBLISH_FAULT_MAX 512u

/* All borrowed. */
struct publish_wish {
    struct message_parts parts;
    struct text channel;
    struct text key; /* idempotency key; the message's own one is in its parts */
    bool is_checked; /* the data is known to be what its type says */
};

/* Who asks, as far as limits go by it. Borrowed; empty is nobody in particular. */
struct asker {
    struct text address; /* what connections from there are counted under */
    struct text subject; /* of his token */
};

/* What says whether a publish that is allowed is one too many; the hub's. */
struct publish_guard {
    /* Returns ERROR_NONE, or why not, with `fault` a sentence and after how many seconds it is worth trying
     * again. */
    enum error_code (*admit)(const struct publish_guard *guard, const struct asker *by, struct text channel,
                             uint32_t *retry_after_s, char fault[PUBLISH_FAULT_MAX]);
};

/* Whether nobody may publish under that event: a stream opens with `subscribed` and tells of a gap by
 * `reset`; for `error` and `open` browsers call an EventSource's own handlers, as if the connection had
 * failed or begun. */
bool publish_event_is_reserved(struct text event);

/* Parses whole seconds from 1 on to milliseconds. Returns 0 or -EINVAL. */
int publish_parse_ttl(uint64_t *ttl_ms, struct text text);

/* Parses `yes` and `no`: whether the message is to be kept. Returns 0 or -EINVAL. */
int publish_parse_store(bool *is_transient, struct text text);

/* Checks a wish and makes the item of it. Returns ERROR_NONE, or the error with `fault` a sentence. */
enum error_code publish_item_fill(struct publish_item *item, const struct publish_wish *wish,
                                  uint64_t size_limit_bytes, char fault[PUBLISH_FAULT_MAX]);

/* Asks the guard, which may be NULL, for an item that is made. Returns ERROR_NONE, or why it is not let
 * through, with `fault` a sentence and the item's retry_after_s. */
enum error_code publish_item_admit(struct publish_item *item, const struct publish_guard *guard,
                                   const struct asker *by, char fault[PUBLISH_FAULT_MAX]);
