/* SPDX-License-Identifier: MIT */
/* Why a subscriber could not be given everything since its cursor; one row each: name, word on the wire, and
 * the word for the number that is told with it. */
#pragma once

#include "base/text.h"

#define RESET_TABLE(ROW)                                                                                     \
    ROW(EPOCH, "epoch", "missed")                /* the log was begun anew since the cursor */               \
    ROW(TRIMMED, "trimmed", "missed")            /* messages after the cursor are no longer kept */          \
    ROW(FUTURE, "future", "missed")              /* the cursor is ahead of the log */                        \
    ROW(PURGED, "purged", "missed")              /* somebody deleted the channel's messages */               \
    ROW(FAILOVER, "failover", "withdrawn")       /* the broker lost messages that it had accepted */         \
    ROW(INCOMPLETE, "incomplete", "missed")      /* of a wild name: channels below are left out */           \
    ROW(TOO_MANY, "too-many-channels", "missed") /* of a wild name: more channels are below */               \
    ROW(UNKNOWN_ID, "unknown-id", "missed") /* the client came back with an id that was never one of ours */

enum reset_reason {
    RESET_NONE,
#define RESET_ENUM(name, word, number) RESET_##name,
    RESET_TABLE(RESET_ENUM)
#undef RESET_ENUM
        RESET_COUNT
};

/* The word on the wire; `reason` is not RESET_NONE. Any thread. */
const char *reset_reason_word(enum reset_reason reason);

/* What the number is of that may be told with it. */
const char *reset_number_word(enum reset_reason reason);

/* RESET_NONE when it is none of the words. Any thread. */
enum reset_reason reset_reason_find(struct text word);
