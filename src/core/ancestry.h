/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_CORE_ANCESTRY_H
#define SLUICE_CORE_ANCESTRY_H

/* The epochs that a log had before the one that it has, where its engine changed in a way that may have lost
 * messages. A cursor of one of them is told `failover`, one of any other epoch `epoch`.
 *
 * A value type; any thread.
 */

#include <stdbool.h>

#include "core/epoch.h"

#define ANCESTRY_MAX 8u

struct ancestry {
    unsigned count;
    struct epoch forebears[ANCESTRY_MAX]; /* the newest first */
};

/* Adds the epoch that the log had until now; the eldest is forgotten when there is no room. */
void ancestry_add(struct ancestry *ancestry, const struct epoch *epoch);

bool ancestry_has(const struct ancestry *ancestry, const struct epoch *epoch);

#endif
