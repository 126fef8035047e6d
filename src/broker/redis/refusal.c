/* SPDX-License-Identifier: MIT */
#include "broker/redis/refusal.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define REFUSAL_TELL_AGAIN_MS 60000u

static const struct {
    const char *word;
    enum error_code error;
    const char *action;
} refusal_rows[] = {
    {"OOM", ERROR_BROKER_FULL, "raise maxmemory, or keep less with history-size and history-ttl"},
    {"LOADING", ERROR_BROKER_DOWN, NULL},
    {"BUSY", ERROR_BROKER_DOWN, "a script blocks Redis; SCRIPT KILL or FUNCTION KILL ends it"},
    {"READONLY", ERROR_BROKER_DOWN, NULL},
    {"MASTERDOWN", ERROR_BROKER_DOWN, NULL},
    {"CLUSTERDOWN", ERROR_BROKER_DOWN, "a slot of the Cluster has no master; see CLUSTER INFO"},
    {"MOVED", ERROR_BROKER_DOWN, NULL},
    {"ASK", ERROR_BROKER_DOWN, NULL},
    {"TRYAGAIN", ERROR_BROKER_DOWN, NULL},
    {"NOSCRIPT", ERROR_BROKER_DOWN, NULL},
    {"ERR Function not found", ERROR_BROKER_DOWN, NULL},
    {"MISCONF", ERROR_BROKER_DOWN, "Redis cannot save to disk and refuses writes; its own log says why"},
    {"NOREPLICAS", ERROR_BROKER_DOWN, "too few replicas follow the master; see min-replicas-to-write"},
    {"NOPERM", ERROR_BROKER_REFUSED, "give the user of the broker URL these rights: see docs/REDIS.md"},
    {"ERR The user executing", ERROR_BROKER_REFUSED,
     "give the user of the broker URL these rights: see docs/REDIS.md"},
    {"WRONGTYPE", ERROR_BROKER_REFUSED, "delete or rename that key, something else wrote it"},
    {"BADLOG", ERROR_BROKER_REFUSED,
     "something else wrote it; delete the key, or publish: the log is then begun anew"},
    {"", ERROR_BROKER_REFUSED, "see docs/REDIS.md"},
};

static bool refusal_was_told(struct refusals *refusals, uint64_t now_ms, const char *reason)
{
    struct refusal *eldest = &refusals->told[0];
    for (size_t i = 0; i < REFUSALS_MAX; i++) {
        struct refusal *refusal = &refusals->told[i];
        if (refusal->told_ms > 0 && strncmp(refusal->reason, reason, sizeof(refusal->reason) - 1) == 0 &&
            now_ms < refusal->told_ms + REFUSAL_TELL_AGAIN_MS)
            return true;
        if (refusal->told_ms < eldest->told_ms)
            eldest = refusal;
    }
    snprintf(eldest->reason, sizeof(eldest->reason), "%s", reason);
    eldest->told_ms = now_ms;
    return false;
}

void refusal_tell(struct refusals *refusals, uint64_t now_ms, const char *address, const char *reason,
                  const char *action)
{
    if (refusal_was_told(refusals, now_ms, reason))
        return;
    log_event(LOG_ERROR, "broker-refused", LOG_TEXT("address", address), LOG_TEXT("reason", reason),
              LOG_TEXT("action", action));
}

enum error_code refusal_note(struct refusals *refusals, uint64_t now_ms, const char *address,
                             const char *error)
{
    size_t i = 0;
    while (strncmp(error, refusal_rows[i].word, strlen(refusal_rows[i].word)) != 0)
        i++;
    if (refusal_rows[i].action)
        refusal_tell(refusals, now_ms, address, error, refusal_rows[i].action);
    return refusal_rows[i].error;
}
